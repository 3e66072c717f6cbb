"""What a verdict costs in tokens and time, told apart by what the server had in its cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from judges.verdict import FREE, Scored, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A verdict's, on average. None where there is none, or where a ledger has answered it."""

    uncached_tokens: float
    """Read by the server, and not out of its cache."""
    cached_tokens: float
    output_tokens: float
    ms: float | None
    ms_cached: float | None
    """Of verdicts whose prompts came mostly from the cache."""
    ms_uncached: float | None

    @property
    def tokens(self) -> float:
        """What has to be computed."""
        return self.uncached_tokens + self.output_tokens


def cost_of(verdicts: Sequence[Verdict]) -> Cost:
    spent = sum((each.usage for each in verdicts), FREE)
    count = max(len(verdicts), 1)
    timed = [each for each in verdicts if not (isinstance(each, Scored) and each.cached)]
    is_cached = [each.usage.cached_tokens * 2 > each.usage.input_tokens for each in timed]
    return Cost(
        uncached_tokens=(spent.input_tokens - spent.cached_tokens) / count,
        cached_tokens=spent.cached_tokens / count,
        output_tokens=spent.output_tokens / count,
        ms=_mean_ms(timed),
        ms_cached=_mean_ms([each for each, was in zip(timed, is_cached, strict=True) if was]),
        ms_uncached=_mean_ms([each for each, was in zip(timed, is_cached, strict=True) if not was]),
    )


def _mean_ms(verdicts: Sequence[Verdict]) -> float | None:
    return 1000 * fmean(each.latency_s for each in verdicts) if verdicts else None


def as_line(cost: Cost) -> str:
    def spell(ms: float | None) -> str:
        return "-" if ms is None else f"{ms:.0f} ms"

    return (
        f"a verdict: {cost.uncached_tokens:.0f} tokens read, {cost.cached_tokens:.0f} from the "
        f"server's cache, {cost.output_tokens:.0f} written; {spell(cost.ms)}, "
        f"{spell(cost.ms_cached)} where most was cached, {spell(cost.ms_uncached)} where not"
    )
