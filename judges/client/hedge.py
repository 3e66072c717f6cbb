"""When a call is so late that asking a second time is worth its price, and how that is done."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from judges.client.budget import BudgetExceeded
from judges.client.retry import Transient

T = TypeVar("T")

_MEMORY = 200
_ENOUGH = 50


class Hedging:
    """The slowest calls are sent again, never more than `share` of all calls."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._latencies_s: deque[float] = deque(maxlen=_MEMORY)
        self._seen = 0
        self.calls = 0
        self.hedges = 0
        self.late_s: float | None = None
        """The age at which a call is among the slowest; None while that is not known."""

    @property
    def may_take(self) -> bool:
        return self.hedges + 1 <= self._share * self.calls

    def on_success(self, latency_s: float) -> None:
        if not self._share:
            return
        self._latencies_s.append(latency_s)
        self._seen += 1
        if self._seen % _ENOUGH == 0:
            ranked = sorted(self._latencies_s)
            self.late_s = ranked[min(int(len(ranked) * (1 - self._share)), len(ranked) - 1)]


async def first_to_answer(
    first: Coroutine[Any, Any, T],
    second: Callable[[], Coroutine[Any, Any, T] | None],
    late_s: float,
) -> T:
    """Of two, or of one if the first is in time or there is no second. The other is broken off."""
    tasks = [asyncio.ensure_future(first)]
    try:
        await asyncio.wait(tasks, timeout=late_s)
        if not tasks[0].done() and (hedge := second()) is not None:
            tasks.append(asyncio.ensure_future(hedge))
        for task in asyncio.as_completed(tasks):
            try:
                return await task
            except (Transient, BudgetExceeded):
                pass  # the other one may answer
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # its bill and its record are done
