"""What a judge has done so far, counted."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from judges.verdict import FREE, JudgeFault, Usage, Verdict

if TYPE_CHECKING:
    from judges.client.chat import Chat

LATENCIES_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeStats:
    """A snapshot. `p50_s` and `p95_s` are of the latest verdicts that were not cached."""

    requests: int
    scored: int
    cached: int
    faults: dict[str, int]
    p50_s: float | None
    p95_s: float | None
    usage: Usage
    calls: int
    """Replies asked for over the network, each counted once."""
    attempts: int
    """Calls with their retries and hedges."""
    limit: int
    """Requests that may be in flight now, by the adaptive limit."""
    breaker_open: bool
    troubles: dict[str, int]
    """Attempts that failed, most of them made good by a retry."""
    fingerprint: str
    """What the first judge's server says of what it runs, if it does."""
    disagreements: int
    """Panels whose members did not all name the same tier."""

    @property
    def fault_count(self) -> int:
        return sum(self.faults.values())


class Tally:
    def __init__(self) -> None:
        self.disagreements = 0
        self._scored = 0
        self._cached = 0
        self._faults: Counter[str] = Counter()
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def add(self, verdict: Verdict) -> None:
        if isinstance(verdict, JudgeFault):
            self._faults[verdict.cause.value] += 1
            return
        self._scored += 1
        self._cached += verdict.cached
        if not verdict.cached:
            self._latencies_s.append(verdict.latency_s)

    def snapshot(self, chats: Sequence[Chat]) -> JudgeStats:
        ordered = sorted(self._latencies_s)
        return JudgeStats(
            requests=self._scored + self._faults.total(),
            scored=self._scored,
            cached=self._cached,
            faults=dict(self._faults),
            p50_s=ordered[len(ordered) // 2] if ordered else None,
            p95_s=ordered[int(len(ordered) * 0.95)] if ordered else None,
            usage=sum((chat.usage for chat in chats), FREE),
            calls=sum(chat.hedging.calls for chat in chats),
            attempts=sum(chat.attempts for chat in chats),
            limit=sum(chat.limit.limit for chat in chats),
            breaker_open=any(chat.breaker.is_open for chat in chats),
            troubles=sum((chat.troubles for chat in chats), Counter[str]()),
            fingerprint=next((chat.fingerprint for chat in chats), ""),
            disagreements=self.disagreements,
        )
