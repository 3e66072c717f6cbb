"""Whether a judge is asked at all, how many at once, and how many a minute. Time is handed in."""

import asyncio
import math
from collections import deque
from enum import Enum, auto

CUT = 0.8


class AdaptiveLimit:
    """How many requests may be in flight: doubled, then one more a round, cut where it hurts.

    Grows only while the limit is what holds requests back. After a cut it rests: the requests
    already under way were sent at the old rate and say nothing new.
    """

    def __init__(self, *, start: int = 16, ceiling: int = 256, rest_s: float = 15.0) -> None:
        self._limit = float(min(start, ceiling))
        self._ceiling = ceiling
        self._rest_s = rest_s
        self._resting_until = -math.inf
        self._slow_start = True

    @property
    def limit(self) -> int:
        return int(self._limit)

    def on_success(self, now: float, in_flight: int) -> None:
        if in_flight < self.limit or now < self._resting_until:
            return
        step = 1.0 if self._slow_start else 1.0 / self._limit
        self._limit = min(self._limit + step, float(self._ceiling))

    def on_overload(self, now: float) -> None:
        self._slow_start = False
        if now < self._resting_until:
            return
        self._limit = max(self._limit * CUT, 1.0)
        self._resting_until = now + self._rest_s


class Slots:
    """Places in flight, handed out in the order they were asked for."""

    def __init__(self, limit: AdaptiveLimit) -> None:
        self._limit = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0

    def take_if_free(self) -> bool:
        if self._waiting or self.in_flight >= self._limit.limit:
            return False
        self.in_flight += 1
        return True

    async def take(self, deadline: float) -> bool:
        """False when the deadline (of the loop's clock) came first."""
        if self.take_if_free():
            return True
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout_at(deadline):
                await place
        except (asyncio.CancelledError, TimeoutError) as error:
            if not place.cancelled():
                self.give_back()  # it came at the same moment
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def give_back(self) -> None:
        self.in_flight -= 1
        self._let_in()

    def on_success(self, now: float) -> None:
        """Where the limit grows, the next comes in now: its place is given back only later."""
        self._limit.on_success(now, self.in_flight)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.in_flight < self._limit.limit:
            place = self._waiting.popleft()
            if not place.done():
                self.in_flight += 1
                place.set_result(None)


class MinuteBucket:
    """At most `per_minute` units start in any minute, evenly spread but for a burst.

    The burst is a second's worth, or the largest request so far, up to half a minute's worth. What
    is larger still waits for a full bucket and leaves it in debt.
    """

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._full_at = -math.inf
        self._set_burst(max(per_minute / 60.0, 1.0))

    def _set_burst(self, units: float) -> None:
        self._burst = units
        # A burst and what flows in afterwards make up the minute together.
        self._unit_s = 60.0 / (self._per_minute - units + 1.0)

    def starts_at(self, units: float, now: float) -> float:
        if units > self._burst:
            self._set_burst(max(self._burst, min(units, self._per_minute / 2.0)))
        spare = self._burst - min(units, self._burst)
        return max(now, self._full_at - spare * self._unit_s)

    def take(self, units: float, now: float) -> None:
        self._full_at = max(self._full_at, now) + units * self._unit_s

    def put_back(self, units: float) -> None:
        self._full_at -= units * self._unit_s


class Pace:
    """Requests and tokens a minute, both kept; None is no limit."""

    def __init__(self, *, rpm: int | None, tpm: int | None) -> None:
        self._requests = MinuteBucket(rpm) if rpm else None
        self._tokens = MinuteBucket(tpm) if tpm else None

    def starts_at(self, tokens: int, now: float) -> float:
        return max(
            self._requests.starts_at(1, now) if self._requests else now,
            self._tokens.starts_at(tokens, now) if self._tokens else now,
        )

    def take(self, tokens: int, now: float) -> None:
        if self._requests:
            self._requests.take(1, now)
        if self._tokens:
            self._tokens.take(tokens, now)

    def put_back_tokens(self, tokens: int) -> None:
        if self._tokens:
            self._tokens.put_back(tokens)


class Pass(Enum):
    YES = auto()
    PROBE = auto()
    NO = auto()


class Breaker:
    """After many failures on end a judge is left alone, then probed.

    Closed lets all through, open none, half-open one; its outcome closes or opens again.
    """

    def __init__(
        self, *, failures_to_open: int = 20, rest_s: float = 2.0, longest_rest_s: float = 15.0
    ) -> None:
        self._failures_to_open = failures_to_open
        self._shortest_rest_s = rest_s
        self._longest_rest_s = longest_rest_s
        self._rest_s = rest_s
        self._failures = 0
        self._reopens_at: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        return self._reopens_at is not None

    def refuses(self, now: float) -> bool:
        return self._reopens_at is not None and (self._probing or now < self._reopens_at)

    def admit(self, now: float) -> Pass:
        if self._reopens_at is None:
            return Pass.YES
        if self.refuses(now):
            return Pass.NO
        self._probing = True
        return Pass.PROBE

    def on_alive(self) -> None:
        """Any reply that is no server error, a refusal included: somebody is at home."""
        self._failures = 0
        self._reopens_at = None
        self._probing = False
        self._rest_s = self._shortest_rest_s

    def on_failure(self, admitted: Pass, now: float) -> None:
        self._failures += 1
        if admitted is Pass.PROBE:
            self._rest_s = min(self._rest_s * 2, self._longest_rest_s)
        elif self.is_open or self._failures < self._failures_to_open:
            return
        self._probing = False
        self._reopens_at = now + self._rest_s

    def on_abandoned(self, admitted: Pass) -> None:
        if admitted is Pass.PROBE:
            self._probing = False
