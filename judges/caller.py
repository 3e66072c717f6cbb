"""One call to a judge, patiently: a place in flight, then attempts until it is answered.

Whatever the world does comes back as a reply or a named failure. Raised are only a spent budget
and what `before_send` raises.
"""

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from judges.budget import Budget, BudgetExceeded
from judges.call import Call, CallFailure, Manners, Passing
from judges.client.http import HttpReply, Transport
from judges.sender import Outcome, Sender
from judges.verdict import FaultCause, Usage

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["BudgetExceeded", "Call", "CallFailure", "Caller", "CallerStats", "Manners"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerStats:
    calls: int
    attempts: int
    hedges: int
    in_flight: int
    waiting: int
    limit: int
    breaker_open: bool
    troubles: Mapping[str, int]
    """Attempts that failed, by cause. Most of them were made good by a retry."""


class Caller:
    def __init__(
        self, transport: Transport, manners: Manners, *, budget: Budget | None = None
    ) -> None:
        self.manners = manners
        self._budget = budget or Budget()
        self._sender = Sender(transport, manners, self._budget)
        self._in_flight: dict[str, asyncio.Future[HttpReply | CallFailure | None]] = {}

    def stats(self) -> CallerStats:
        sender = self._sender
        return CallerStats(
            calls=sender.hedging.calls,
            attempts=sender.attempts,
            hedges=sender.hedging.hedges,
            in_flight=sender.slots.in_flight,
            waiting=sender.slots.waiting,
            limit=sender.limit.limit,
            breaker_open=sender.breaker.is_open,
            troubles=dict(sender.troubles),
        )

    async def call(self, call: Call, deadline: float | None = None) -> HttpReply | CallFailure:
        """`deadline` is a time of the running loop's clock."""
        deadline = math.inf if deadline is None else deadline
        if not call.twin:
            return await self._call(call, deadline)
        while (twin := self._in_flight.get(call.twin)) is not None:
            outcome = await _result_of(twin, deadline)
            if outcome is not None:
                return replace(outcome, shared=True)
        mine = self._in_flight[call.twin] = asyncio.get_running_loop().create_future()
        outcome = None
        try:
            outcome = await self._call(call, deadline)
            return outcome
        finally:
            del self._in_flight[call.twin]
            mine.set_result(outcome)

    def settle(self, call: Call, actual: Usage) -> None:
        """Say what a reply that was not shared has cost."""
        self._budget.settle(call.worst, actual)
        self._sender.pace.put_back_tokens(call.worst.tokens - actual.tokens)

    async def _call(self, call: Call, deadline: float) -> HttpReply | CallFailure:
        slots = self._sender.slots
        if not await slots.take(deadline):
            return CallFailure(cause=FaultCause.DEADLINE, detail="its turn did not come in time")
        try:
            outcome = await self._sender.attempt(call, deadline)
            if isinstance(outcome, Passing):
                outcome = await self._retry(call, deadline, outcome)
            return outcome
        finally:
            slots.give_back()

    async def _retry(self, call: Call, deadline: float, first: Passing) -> HttpReply | CallFailure:
        from tenacity import AsyncRetrying, retry_if_result, wait_random_exponential

        loop = asyncio.get_running_loop()
        manners = self.manners
        backoff = wait_random_exponential(manners.backoff_s, manners.longest_backoff_s)
        seen: list[Passing] = [first]
        faults = 0

        async def again() -> Outcome:
            # A call that succeeds at once never pays for this machinery, so it starts late.
            return seen.pop() if seen else await self._sender.attempt(call, deadline)

        def pause_s(state: "RetryCallState") -> float:
            wait_s = _passing(state).wait_s
            if wait_s is None:
                return backoff(state)
            return wait_s + random.uniform(0.0, manners.backoff_s)  # not all at the same instant

        def is_hopeless(state: "RetryCallState") -> bool:
            nonlocal faults
            faults += _passing(state).failure.cause is not FaultCause.RATE_LIMITED
            return faults > manners.retries or loop.time() + state.upcoming_sleep >= deadline

        return await AsyncRetrying(
            retry=retry_if_result(lambda outcome: isinstance(outcome, Passing)),
            wait=pause_s,
            stop=is_hopeless,
            retry_error_callback=lambda state: _passing(state).failure,
            sleep=asyncio.sleep,
        )(again)


async def _result_of(
    twin: asyncio.Future[HttpReply | CallFailure | None], deadline: float
) -> HttpReply | CallFailure | None:
    """What an equal request came to; None if it was given up, and this one is to try itself."""
    left_s = deadline - asyncio.get_running_loop().time()
    done, _ = await asyncio.wait({twin}, timeout=None if math.isinf(left_s) else max(left_s, 0.0))
    if not done:
        return CallFailure(cause=FaultCause.DEADLINE, detail="an equal request was not answered")
    outcome = twin.result()
    if isinstance(outcome, CallFailure) and outcome.cause is FaultCause.DEADLINE:
        return None
    return outcome


def _passing(state: "RetryCallState") -> Passing:
    assert state.outcome is not None
    outcome = state.outcome.result()
    assert isinstance(outcome, Passing)
    return outcome
