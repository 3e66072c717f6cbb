"""A file's requests, asked of a judge one after another, as many at once as it takes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from judges import make_judge
from judges.asks import asks_for_a_verdict, worst_of
from judges.client.backends import chains_of, resolve
from judges.client.budget import BudgetExceeded
from judges.commands.flags import in_own_flags
from judges.config import JudgeConfig
from judges.fit.profile import in_its_way
from judges.rubric.lineup import ROUNDS
from judges.rubric.rubric import load_rubric
from judges.stats import JudgeStats
from judges.verdict import OUTAGES, FaultCause, JudgeFault, JudgeRequest, Verdict

if TYPE_CHECKING:
    from judges.judge import Judge

REPORT_EVERY = 20
ASKED_AGAIN = 3
"""Times that a request is asked again after outages: one that always takes too long is a fault."""


def in_turn(config: JudgeConfig, requests: Sequence[JudgeRequest]) -> int:
    """How many at once, so that none waits through its own deadline.

    As many as every judge takes, and no more than rpm and tpm let start in half of the time.
    """
    config = in_its_way(config)
    judges = [resolve(first) for first, *_ in chains_of(config)]
    longest = max(requests, key=lambda request: len(request.answer))
    *others, ask = asks_for_a_verdict(longest, load_rubric(config.rubric), config)
    calls = config.samples * (len(others) + 1 + ROUNDS * config.lineup)
    room = config.deadline_s / 60 / 2 / calls
    limits = [float(judge.max_in_flight) for judge in judges]
    limits += [judge.rpm * room for judge in judges if judge.rpm]
    limits += [
        judge.tpm * room / worst_of(ask, judge, config).tokens for judge in judges if judge.tpm
    ]
    return max(int(min(limits)), 1)


@contextmanager
def one_budget(judge: JudgeConfig) -> Generator[JudgeConfig]:
    """For several times `judge_all`. A ledger counts what was spent, so each goes on from there."""
    limits = (judge.max_calls, judge.max_tokens, judge.max_usd)
    if judge.ledger or limits == (None, None, None):
        yield judge
        return
    with TemporaryDirectory(prefix="judges-") as folder:
        yield replace(judge, ledger=str(Path(folder) / "ledger.sqlite"))


def _ignore(place: int, verdict: Verdict) -> None:
    pass


async def judge_all(
    config: JudgeConfig,
    requests: Sequence[JudgeRequest],
    *,
    on_verdict: Callable[[int, Verdict], None] = _ignore,
    make: Callable[[JudgeConfig], Judge] = make_judge,
) -> tuple[list[Verdict], JudgeStats]:
    """Every request has its whole deadline, from when its turn comes.

    `on_verdict` is told of each verdict once all before it are there; of those left over, when the
    judging is broken off.
    """
    verdicts: dict[int, Verdict] = {}
    left = iter(enumerate(requests))
    handed_on = 0

    async def work(patient: _Patient) -> None:
        nonlocal handed_on
        for place, request in left:
            verdicts[place] = await patient.verdict(request)
            if len(verdicts) % REPORT_EVERY == 0:
                print(f"{len(verdicts)} of {len(requests)} judged", file=sys.stderr, flush=True)
            while handed_on in verdicts:
                handed_on += 1
                on_verdict(handed_on - 1, verdicts[handed_on - 1])

    async with make(config) as judge:
        patient = _Patient(judge)
        turns = min(in_turn(config, requests), len(requests))
        workers = [asyncio.create_task(work(patient)) for _ in range(turns)]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in (*workers, *patient.waiting):
                task.cancel()
            for place in sorted(place for place in verdicts if place >= handed_on):
                on_verdict(place, verdicts[place])
        return [verdicts[place] for place in range(len(requests))], judge.stats()


class _Patient:
    """Waits for a judge that was there and is gone. One that never answered is not waited for."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._has_answered = False
        self.waiting: list[asyncio.Task[None]] = []
        """The one wait of all who wait, if any."""

    async def verdict(self, request: JudgeRequest) -> Verdict:
        try:
            verdict = await self._judge.score_one(request)
            for _ in range(ASKED_AGAIN):
                if not isinstance(verdict, JudgeFault) or verdict.cause not in OUTAGES:
                    self._has_answered = True
                    break
                if not self._has_answered:
                    break
                await self._until_alive(verdict)
                verdict = await self._judge.score_one(request)
            return verdict
        except BudgetExceeded as error:  # what was paid for is still wanted
            return JudgeFault(cause=FaultCause.BUDGET, detail=in_own_flags(str(error)))

    async def _until_alive(self, fault: JudgeFault) -> None:
        if not self.waiting:
            why = f"the judge is down ({fault.cause}); waiting for it. Ctrl-C ends this"
            alive = self._judge.wait_until_alive(
                on_pause=lambda: print(why, file=sys.stderr, flush=True),
                on_resume=lambda s: print(f"it is back after {s:.0f} s", file=sys.stderr),
            )
            self.waiting = [asyncio.create_task(alive)]
            self.waiting[0].add_done_callback(lambda _: self.waiting.clear())
        await asyncio.shield(self.waiting[0])
