"""One judge, one pair: which of the two is better, as they stand."""

from judges.client.wire import Ask
from judges.grader import Grader
from judges.pairwise.question import PAIR_SCHEMA, first_share, name_of_wording, pair_prompt
from judges.verdict import JudgeRequest, Scored

FIRST, SECOND, NEITHER = "first", "second", "neither"
LEAN = 0.1
"""A share this near to a half names neither."""


def named(first_share: float) -> str:
    if abs(first_share - 0.5) <= LEAN:
        return NEITHER
    return FIRST if first_share > 0.5 else SECOND


class PairGrader(Grader):
    """Its score is how surely the first is the better one."""

    async def _graded(self, request: JudgeRequest, deadline: float, sample: int) -> Scored:
        ask = Ask(
            key=self._setup.key(request, sample=name_of_wording()),
            request=request,
            prompt=lambda grading: pair_prompt(request, grading),
            schema=PAIR_SCHEMA,
            temperature=self._config.sampling_temperature,
            max_tokens=self._config.max_reply_tokens,
        )
        answer = await self.chat.ask(ask, first_share, deadline)
        return Scored(
            tier=named(answer.said),
            score=answer.said,
            cached=answer.cached,
            usage=answer.usage,
        )
