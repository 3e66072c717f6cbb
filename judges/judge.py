"""The judge a run holds: enter it, hand it requests, get verdicts in the same order."""

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from judges.client.backends import chains_of
from judges.client.budget import Budget
from judges.client.chat import Chat
from judges.client.http import Transport
from judges.client.ledger import new_secret
from judges.config import JudgeConfig
from judges.fit.profile import Profile, in_its_way, profile_of
from judges.grader import Grader
from judges.opening import MakeGrader, Shared, check, open_grader, open_ledger
from judges.rubric.rubric import Rubric, load_rubric
from judges.serve.child import ChildServer
from judges.stats import JudgeStats, Tally
from judges.together import all_to_their_end
from judges.verdict import OUTAGES, FaultCause, Faulty, JudgeFault, JudgeRequest, Scored, Verdict
from judges.vote import combine

ANOTHER_MAY_ANSWER = OUTAGES | {FaultCause.NOT_RECORDED}
LONGEST_PAUSE_S = 60.0
PROBE = JudgeRequest(question="Which organ pumps the blood?", truth="The heart", answer="The heart")


def make_judge(config: JudgeConfig, grader: MakeGrader = Grader) -> "Judge":
    """Raises ValueError for whatever is wrong with the config. Touches no network."""
    rubric = load_rubric(config.rubric)
    profile, config = profile_of(config), in_its_way(config)
    chains = chains_of(config)
    if config.grading == "ladder":
        rubric.say_what_is_generated()
    checked = [[check(member, rubric) for member in chain] for chain in chains]
    seats = [(voter.name, voter.model, voter.url) for voter, *_ in checked]
    for seat, entry in enumerate(config.panel, 1):
        if seats[seat] in seats[:seat]:
            raise ValueError(
                f"judge.panel names {entry} and it votes already: the same judge would be paid, "
                "and counted, twice. Name another, or ask one judge several times with "
                "judge.samples"
            )
    return Judge(config, rubric, chains, profile, grader)


class Judge:
    """`async with make_judge(config) as judge: verdicts = await judge.score(requests)`."""

    def __init__(
        self,
        config: JudgeConfig,
        rubric: Rubric,
        chains: Sequence[Sequence[JudgeConfig]],
        profile: Profile | None,
        grader: MakeGrader,
    ) -> None:
        self.config = config
        self.rubric = rubric
        self._configs = chains
        self._profile = profile
        self._grader = grader
        self._chains: list[list[Grader]] = []
        self._children: list[ChildServer] = []
        self._tally = Tally()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Judge":
        config = self.config
        async with AsyncExitStack() as stack:
            ledger = await open_ledger(config.ledger, stack) if config.ledger else None
            shared = Shared(
                rubric=self.rubric,
                transport=await stack.enter_async_context(Transport()),
                ledger=ledger,
                grader=self._grader,
                secret=ledger.secret if ledger else new_secret(),
                budget=Budget(
                    max_calls=config.max_calls,
                    max_tokens=config.max_tokens,
                    max_usd=config.max_usd,
                    already=ledger.spent() if ledger else None,
                ),
            )
            self._chains = [
                [await open_grader(link, shared, stack) for link in chain]
                for chain in self._configs
            ]
            self._children = shared.children
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def score(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """A verdict for each request, in order; what is missing at the deadline is a fault.

        Raises BudgetExceeded before the first call that could go beyond the budget, once what was
        already asked has been answered.
        """
        deadline = self._deadline()
        verdicts: dict[int, Verdict] = {}
        left = deque(enumerate(requests))

        async def work() -> None:
            try:
                while left:
                    place, request = left.popleft()
                    verdicts[place] = await self._verdict(request, deadline)
            except BaseException:
                left.clear()
                raise

        # A place in flight never waits for a prompt, and a million requests are not all prompts.
        most_in_flight = max(chat.backend.max_in_flight for chat in self._chats)
        await all_to_their_end(work() for _ in range(min(len(requests), 2 * most_in_flight)))
        return [verdicts[place] for place in range(len(requests))]

    async def score_one(self, request: JudgeRequest) -> Verdict:
        return await self._verdict(request, self._deadline())

    async def is_alive(self) -> bool:
        for child in self._children:
            await child.revive()
        # Never asked before, or the ledger would answer in its place.
        probe = replace(PROBE, answer=f"The heart ({secrets.token_hex(4)})")
        try:
            await self._panel_verdict(probe, self._deadline())
        except Faulty as fault:
            return fault.cause not in OUTAGES
        return True

    async def wait_until_alive(
        self,
        *,
        on_pause: Callable[[], None],
        on_resume: Callable[[float], None],
        every_s: float = 5.0,
    ) -> None:
        """Return once the judge answers. `on_pause` and `on_resume` are told, once each."""
        if await self.is_alive():
            return
        loop = asyncio.get_running_loop()
        paused_at = loop.time()
        on_pause()
        await asyncio.sleep(every_s)
        while not await self.is_alive():
            every_s = min(every_s * 1.5, LONGEST_PAUSE_S)
            await asyncio.sleep(every_s)
        on_resume(loop.time() - paused_at)

    def stats(self) -> JudgeStats:
        return self._tally.snapshot(self._chats)

    @property
    def _chats(self) -> list[Chat]:
        return [grader.chat for chain in self._chains for grader in chain]

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.config.deadline_s

    async def _verdict(self, request: JudgeRequest, deadline: float) -> Verdict:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            verdict: Verdict = await self._panel_verdict(request, deadline)
            if self._profile:
                verdict = self._profile.calibrated(verdict, request.lang, self.rubric)
        except Faulty as fault:
            verdict = JudgeFault(
                cause=fault.cause,
                detail=fault.detail,
                latency_s=loop.time() - started,
                usage=fault.usage,
            )
        self._tally.add(verdict)
        return verdict

    async def _panel_verdict(self, request: JudgeRequest, deadline: float) -> Scored:
        if len(self._chains) == 1:
            return await self._chain_verdict(self._chains[0], request, deadline)
        verdicts, faults = await _scored(
            self._chain_verdict(chain, request, deadline) for chain in self._chains
        )
        self._tally.disagreements += len({verdict.tier for verdict in verdicts}) > 1
        return combine(verdicts, faults, self.config.vote, self.rubric)

    async def _chain_verdict(
        self, chain: Sequence[Grader], request: JudgeRequest, deadline: float
    ) -> Scored:
        """The first of the chain that answers. Each leaves those after it their share of time."""
        loop = asyncio.get_running_loop()
        if len(chain) > 1:  # who answered it in an earlier part of the run answers it again
            chain = sorted(chain, key=lambda grader: not grader.holds(request))
        *first, last = chain
        for left, grader in zip(range(len(chain), 1, -1), first, strict=True):
            now = loop.time()
            try:
                return await self._sampled(grader, request, now + (deadline - now) / left)
            except Faulty as fault:
                if fault.cause not in ANOTHER_MAY_ANSWER:
                    raise
        return await self._sampled(last, request, deadline)

    async def _sampled(self, grader: Grader, request: JudgeRequest, deadline: float) -> Scored:
        samples = self.config.samples
        if samples == 1:
            return await grader.grade(request, deadline)
        verdicts, faults = await _scored(
            grader.grade(request, deadline, sample=i) for i in range(samples)
        )
        return combine(verdicts, faults, "majority", self.rubric)


async def _scored(asked: Iterable[Awaitable[Scored]]) -> tuple[list[Scored], list[Faulty]]:
    """All of them to their end, whatever becomes of one: what was asked is paid for."""
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Faulty):
            raise outcome
    return (
        [outcome for outcome in outcomes if isinstance(outcome, Scored)],
        [outcome for outcome in outcomes if isinstance(outcome, Faulty)],
    )
