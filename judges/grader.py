"""One model, one request: what it commits to look for, its verdict, and the line-up behind it."""

import asyncio
from dataclasses import replace

from judges.asks import claims_ask, entry_ask, rung_ask, verdict_ask
from judges.client.chat import Answer, Chat
from judges.client.wire import Reply
from judges.config import JudgeConfig
from judges.rubric.ladder import is_open, read_off, yes_share
from judges.rubric.lineup import (
    A_TRACE,
    PICKED,
    ROUNDS,
    anything_said,
    line_up,
    truth_share,
    unpaid,
)
from judges.rubric.reply import grade_logprobs, grade_reply, read_claims
from judges.rubric.rubric import Rubric
from judges.verdict import FREE, JudgeRequest, Scored

COMMITMENT = "commitment"
CLAIMS_KEPT = 4096
"""In memory, for a run without a ledger; the oldest goes first."""


class Grader:
    def __init__(self, chat: Chat, rubric: Rubric, config: JudgeConfig, secret: str) -> None:
        """Of the `secret` are made the fences that no answer can guess."""
        self.chat = chat
        self._setup = chat.books.setup
        self._rubric = rubric
        self._config = config
        self._secret = secret
        self._claims: dict[str, str] = {}

    def holds(self, request: JudgeRequest) -> bool:
        """Whether the ledger has its verdict already."""
        ledger = self.chat.books.ledger
        return ledger is not None and self._setup.key(request) in ledger

    async def grade(self, request: JudgeRequest, deadline: float, *, sample: int = 0) -> Scored:
        """Raises Faulty where there is no verdict. `deadline` is a time of the loop's clock."""
        started = asyncio.get_running_loop().time()
        config = self._config
        if config.grading == "ladder":
            scored = await self._down_the_ladder(request, deadline)
        else:
            scored = await self._graded(request, deadline, sample)
        scored = replace(scored, latency_s=asyncio.get_running_loop().time() - started)
        if not config.lineup or scored.score <= unpaid(self._rubric).score + A_TRACE:
            return scored
        return await self._line_up(scored, request, deadline)

    async def _graded(self, request: JudgeRequest, deadline: float, sample: int) -> Scored:
        config = self._config
        claims = await self._committed(request, deadline) if config.commit_first else ""
        key = self._setup.key(request, sample=sample)
        ask = verdict_ask(
            *(request, self._rubric, config),
            key=key,
            secret=self._secret,
            claims=claims,
            sample=sample,
        )
        answer = await self.chat.ask(ask, self._read, deadline)
        return replace(answer.said, cached=answer.cached, usage=answer.usage)

    async def _down_the_ladder(self, request: JudgeRequest, deadline: float) -> Scored:
        answers: list[Answer[float]] = []
        for number, tier in enumerate(self._rubric.rungs):
            if not is_open([answer.said for answer in answers], self._rubric):
                break
            key = self._setup.key(request, sample=number)
            ask = rung_ask(request, self._rubric, self._config, tier, key=key)
            answers.append(await self.chat.ask(ask, yes_share, deadline))
        return replace(
            read_off([answer.said for answer in answers], self._rubric),
            cached=all(answer.cached for answer in answers),
            usage=sum((answer.usage for answer in answers), FREE),
        )

    def _read(self, reply: Reply) -> Scored:
        by_logprobs = self._config.grading == "labels" and reply.logprobs is not None
        return (grade_logprobs if by_logprobs else grade_reply)(reply, self._rubric)

    async def _committed(self, request: JudgeRequest, deadline: float) -> str:
        """What the judge will look for, written once a question, before it saw any answer."""
        unanswered = replace(request, answer="")
        key = self._setup.key(unanswered, sample=COMMITMENT)
        if (known := self._claims.get(key)) is not None:
            return known
        ask = claims_ask(unanswered, self._rubric, self._config, key=key)
        claims = (await self.chat.ask(ask, read_claims, deadline)).said
        if len(self._claims) >= CLAIMS_KEPT:
            del self._claims[next(iter(self._claims))]
        self._claims[key] = claims
        return claims

    async def _line_up(self, scored: Scored, request: JudgeRequest, deadline: float) -> Scored:
        """The verdict, if the answer is seen to state the truth by a judge not told which it is."""
        started = asyncio.get_running_loop().time()
        share = float(anything_said(request))
        answers: list[Answer[float]] = []
        while share > PICKED and len(answers) < ROUNDS:
            answers.append(await self._truth_share(request, deadline, number=len(answers)))
            share = min(share, answers[-1].said)
        found = replace(
            scored,
            rationale=f"{scored.rationale} In a line-up: {share:.2f}.".strip(),
            latency_s=scored.latency_s + asyncio.get_running_loop().time() - started,
            cached=scored.cached and all(answer.cached for answer in answers),
            usage=sum((answer.usage for answer in answers), scored.usage),
        )
        if share > PICKED:
            return found
        without_truth = unpaid(self._rubric)
        return replace(found, tier=without_truth.label, score=without_truth.score, demoted=True)

    async def _truth_share(
        self, request: JudgeRequest, deadline: float, number: int
    ) -> Answer[float]:
        lineup = line_up(request, number)
        key = self._setup.key(request, sample=lineup.name)
        ask = entry_ask(request, lineup, self._config, key=key, secret=self._secret)
        return await self.chat.ask(ask, lambda reply: truth_share(reply, lineup), deadline)
