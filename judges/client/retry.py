"""When to ask again: after a failure that may pass, for as long as there is patience."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from judges.verdict import FaultCause, Faulty

T = TypeVar("T")

LONGEST_BACKOFF_S = 20.0


class Transient(Faulty):
    """It may pass. `wait_s` is how long to leave the judge alone; None is a growing pause."""

    def __init__(self, cause: FaultCause, detail: str, *, wait_s: float | None = None) -> None:
        super().__init__(cause, detail)
        self.wait_s = wait_s


class LesserTerms(Transient):
    """It may be asked again at once, for less."""


class Patience:
    """What one ask has of it. Pauses are random, up to `backoff_s` at first, then doubling."""

    def __init__(self, *, retries: int, backoff_s: float, deadline: float) -> None:
        self.deadline = deadline
        self.was_sent = False
        self._retries_left = retries
        self._backoff_s = backoff_s
        self._backoff = wait_random_exponential(backoff_s, LONGEST_BACKOFF_S)

    async def retried(self, attempt: Callable[..., Awaitable[T]], *args: object) -> T:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            wait=self._pause_s,
            stop=self._is_over,
            sleep=asyncio.sleep,
            reraise=True,
        )
        try:
            return await retrying(attempt, *args)
        finally:
            retrying.iter_state.reset()  # it holds itself, and collecting that is dear

    def _pause_s(self, state: RetryCallState) -> float:
        fault = _fault(state)
        if isinstance(fault, LesserTerms):
            return 0.0
        if fault.wait_s is None:
            return self._backoff(state)
        return fault.wait_s + random.uniform(0.0, self._backoff_s)  # not all at the same instant

    def _is_over(self, state: RetryCallState) -> bool:
        """A 429 is waited out, however often it comes."""
        fault = _fault(state)
        if not isinstance(fault, LesserTerms) and fault.cause is not FaultCause.RATE_LIMITED:
            self._retries_left -= 1
        now = asyncio.get_running_loop().time()
        return self._retries_left < 0 or now + state.upcoming_sleep >= self.deadline


def _fault(state: RetryCallState) -> Transient:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert isinstance(error, Transient)
    return error


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks for: in milliseconds, in seconds or as a date. None if unreadable."""
    for name, a_second in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        if (wait := _number(headers.get(name))) is not None:
            return wait / a_second
    if (until := _date(headers.get("retry-after"))) is None:
        return None
    # The server's clock may be wrong; then it is wrong in both dates.
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max((until - now).total_seconds(), 0.0)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
