"""Whether the judge is asked at all. After many failures on end it is left alone, then probed."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto


class Pass(Enum):
    YES = auto()
    PROBE = auto()
    NO = auto()


class Breaker:
    """Closed lets all through, open none, half-open one; its outcome closes or opens again."""

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


async def wait_until_alive(
    probe: Callable[[], Awaitable[bool]],
    *,
    on_pause: Callable[[], None],
    on_resume: Callable[[float], None],
    every_s: float = 5.0,
    longest_s: float = 60.0,
) -> None:
    """Return once `probe` says yes. Alerts once on the way down and once on the way up."""
    if await probe():
        return
    loop = asyncio.get_running_loop()
    paused_at = loop.time()
    on_pause()
    wait_s = every_s
    while True:
        await asyncio.sleep(wait_s)
        if await probe():
            break
        wait_s = min(wait_s * 1.5, longest_s)
    on_resume(loop.time() - paused_at)
