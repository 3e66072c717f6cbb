"""One backend, one model: puts a request in words, has it answered, grades the reply."""

import asyncio
import secrets
from dataclasses import replace

from judges.abilities import Abilities
from judges.backends import Backend
from judges.config import JudgeConfig
from judges.exchange import Answer, Exchange, Means, Question
from judges.grade import (
    CLAIMS_SCHEMA,
    Graded,
    grade_logprobs,
    grade_reply,
    read_claims,
    verdict_schema,
)
from judges.lineup import (
    A_TRACE,
    PICKED,
    ROUNDS,
    anything_said,
    line_up,
    lineup_prompt,
    lineup_schema,
    truth_share,
    unpaid,
)
from judges.prompt import Prompt, commitment_prompt, grading_prompt
from judges.rubric import Rubric
from judges.together import all_to_their_end
from judges.verdict import FREE, JudgeRequest, Scored
from judges.wire import Reply

COMMITMENT = "commitment"
CLAIMS_KEPT = 4096
"""In memory, for a run without a ledger; the oldest goes first."""


class Asker:
    def __init__(self, backend: Backend, rubric: Rubric, config: JudgeConfig, means: Means) -> None:
        self.means = means
        self._rubric = rubric
        self._config = config
        self._abilities = Abilities(backend, logprobs=config.grading == "labels")
        self._exchange = Exchange(backend, self._abilities, means)
        self._claims: dict[str, str] = {}

    def holds(self, request: JudgeRequest) -> bool:
        """Whether the ledger has its verdict already."""
        ledger = self.means.ledger
        return ledger is not None and self.means.setup.key(request) in ledger

    async def ask(self, request: JudgeRequest, deadline: float, *, sample: int = 0) -> Scored:
        """Raises Faulty where there is no verdict. `deadline` is a time of the loop's clock."""
        started = asyncio.get_running_loop().time()
        claims = await self._committed(request, deadline) if self._config.commit_first else ""

        def prompt() -> Prompt:
            return grading_prompt(
                request,
                self._rubric,
                self._abilities.grading,
                defences=self._config.defences,
                claims=claims,
            )

        question = Question(
            key=self.means.setup.key(request, sample=sample),
            request=request,
            prompt=prompt,
            schema=verdict_schema(self._rubric),
            temperature=self._config.sampling_temperature,
            max_tokens=self._config.max_reply_tokens,
            may_be_logprobs=True,
            seed=sample if self._config.samples > 1 else None,
        )
        graded, answer = await self._exchange.read(question, deadline, self._grade)
        scored = Scored(
            tier=graded.tier,
            score=graded.score,
            rationale=graded.rationale,
            latency_s=asyncio.get_running_loop().time() - started,
            cached=answer.cached,
            usage=FREE if answer.cached else answer.reply.usage,
        )
        if not self._config.lineup or scored.score <= unpaid(self._rubric).score + A_TRACE:
            return scored
        return await self._line_up(scored, request, deadline)

    async def _line_up(self, scored: Scored, request: JudgeRequest, deadline: float) -> Scored:
        """The verdict, if the answer is seen to state the truth by a judge not told which it is."""
        started = asyncio.get_running_loop().time()
        rounds = range(ROUNDS) if anything_said(request) else ()
        asked = [self._truth_share(request, deadline, number) for number in rounds]
        answers = await all_to_their_end(asked)
        share = min((share for share, _ in answers), default=0.0)
        found = replace(
            scored,
            rationale=f"{scored.rationale} In a line-up: {share:.2f}.".strip(),
            latency_s=scored.latency_s + asyncio.get_running_loop().time() - started,
            cached=scored.cached and all(answer.cached for _, answer in answers),
            usage=sum(
                (answer.reply.usage for _, answer in answers if not answer.cached), scored.usage
            ),
        )
        if share > PICKED:
            return found
        without_truth = unpaid(self._rubric)
        return replace(found, tier=without_truth.label, score=without_truth.score)

    async def _truth_share(
        self, request: JudgeRequest, deadline: float, number: int
    ) -> tuple[float, Answer]:
        lineup = line_up(request, number)
        fence = secrets.token_hex(4)
        question = Question(
            key=self.means.setup.key(request, sample=lineup.name),
            request=request,
            prompt=lambda: lineup_prompt(request, lineup, self._abilities.grading, fence),
            schema=lineup_schema(lineup),
            temperature=0.0,
            max_tokens=self._config.max_reply_tokens,
            may_be_logprobs=True,
        )
        return await self._exchange.read(
            question, deadline, lambda reply: truth_share(reply, lineup)
        )

    def _grade(self, reply: Reply) -> Graded:
        by_logprobs = self._config.grading == "labels" and reply.logprobs is not None
        return (grade_logprobs if by_logprobs else grade_reply)(reply, self._rubric)

    async def _committed(self, request: JudgeRequest, deadline: float) -> str:
        """What the judge will look for, written once a question, before it saw any answer."""
        unanswered = replace(request, answer="")
        key = self.means.setup.key(unanswered, sample=COMMITMENT)
        if (known := self._claims.get(key)) is not None:
            return known
        prompt = commitment_prompt(unanswered, self._rubric)
        question = Question(
            key=key,
            request=unanswered,
            prompt=lambda: prompt,
            schema=CLAIMS_SCHEMA,
            temperature=0.0,
            max_tokens=self._config.max_reply_tokens,
            may_be_logprobs=False,
        )
        claims, _ = await self._exchange.read(question, deadline, read_claims)
        if len(self._claims) >= CLAIMS_KEPT:
            del self._claims[next(iter(self._claims))]
        self._claims[key] = claims
        return claims
