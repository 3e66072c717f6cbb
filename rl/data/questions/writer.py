"""One writer, one passage: a question, its answer and the sentence they rest on."""

import json
from dataclasses import dataclass, replace

from judges.client.chat import Chat
from judges.client.wire import Ask, Json, Reply
from judges.config import JudgeConfig
from judges.grader import Grader
from judges.rubric.prompt import Prompt, neutralise
from judges.rubric.reply import the_object_with
from judges.rubric.rubric import Rubric
from judges.verdict import FaultCause, Faulty, JudgeRequest, Scored
from rl.data.questions.kinds import Kinds

PARTS = ("sentence", "question", "answer")
"""In the order they are written, so that the question follows from the sentence."""
SCHEMA: Json = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in PARTS},
    "required": list(PARTS),
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Scored):
    """All three are empty where the writer found no basis for a question."""

    sentence: str
    question: str
    answer: str


class Writer(Grader):
    """Its verdicts are Written. A request's question is a kind, its answer the passage."""

    def __init__(
        self, kinds: Kinds, chat: Chat, rubric: Rubric, config: JudgeConfig, secret: str
    ) -> None:
        super().__init__(chat, rubric, config, secret)
        self._kinds = kinds

    async def _graded(self, request: JudgeRequest, deadline: float, sample: int) -> Written:
        key = self._setup.key(request, sample=f"write {self._kinds.sha}")
        ask = writing_ask(request, self._kinds, self._config, key=key)
        answer = await self.chat.ask(ask, read_written, deadline)
        return replace(answer.said, cached=answer.cached, usage=answer.usage)


def writing_ask(request: JudgeRequest, kinds: Kinds, config: JudgeConfig, *, key: str = "") -> Ask:
    return Ask(
        key=key,
        request=request,
        prompt=lambda _: writing_prompt(request, kinds),
        schema=SCHEMA,
        temperature=config.sampling_temperature,
        max_tokens=config.max_reply_tokens,
        logprobs=False,
    )


def writing_prompt(request: JudgeRequest, kinds: Kinds) -> Prompt:
    """The text comes before what is wanted of it: a server reads it once for all kinds."""
    text = json.dumps({"text": neutralise(request.answer)}, ensure_ascii=False)
    wanted = kinds.by_name[request.question].wanted
    return Prompt(
        system=f"{kinds.task}\n\n{kinds.untrusted}",
        user=f"{text}\n\n{wanted}\n\n{kinds.reply}",
    )


def read_written(reply: Reply) -> Written:
    said = the_object_with("question", reply)
    parts = {name: said.get(name) for name in PARTS}
    if not all(isinstance(part, str) for part in parts.values()):
        raise Faulty(FaultCause.NO_VERDICT, f"not {', '.join(PARTS)}: {reply.text[:160]!r}")
    texts = {name: str(part).strip() for name, part in parts.items()}
    if 0 < sum(map(bool, texts.values())) < len(PARTS):
        raise Faulty(FaultCause.EMPTY, f"some of it is empty: {reply.text[:160]!r}")
    return Written(tier="written", score=0.0, **texts)
