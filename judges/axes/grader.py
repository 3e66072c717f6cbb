"""One judge, one answer: a rating on each axis."""

from __future__ import annotations

from dataclasses import replace

from judges.axes.axes import Axes
from judges.axes.question import Rated, rating_prompt, ratings_schema, read_ratings
from judges.client.chat import Chat
from judges.client.wire import Ask
from judges.config import JudgeConfig
from judges.grader import Grader
from judges.rubric.rubric import Rubric
from judges.verdict import JudgeRequest


class AxesGrader(Grader):
    """Its verdicts are Rated."""

    def __init__(
        self, axes: Axes, chat: Chat, rubric: Rubric, config: JudgeConfig, secret: str
    ) -> None:
        super().__init__(chat, rubric, config, secret)
        self._axes = axes

    async def _graded(self, request: JudgeRequest, deadline: float, sample: int) -> Rated:
        key = self._setup.key(request, sample=f"axes {self._axes.sha}")
        ask = rating_ask(request, self._axes, self._config, key=key)
        answer = await self.chat.ask(ask, lambda reply: read_ratings(reply, self._axes), deadline)
        return replace(answer.said, cached=answer.cached, usage=answer.usage)


def rating_ask(request: JudgeRequest, axes: Axes, config: JudgeConfig, *, key: str = "") -> Ask:
    return Ask(
        key=key,
        request=request,
        prompt=lambda _: rating_prompt(request, axes),
        schema=ratings_schema(axes),
        temperature=config.sampling_temperature,
        max_tokens=config.max_reply_tokens,
        logprobs=False,
    )
