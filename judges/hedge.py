"""When a call is so late that asking a second time is worth its price."""

from collections import deque

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
