"""Several verdicts on one answer, made one: a panel's, or one judge's samples."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median

from judges.config import Vote
from judges.rubric.rubric import Rubric
from judges.verdict import FREE, OUTAGES, FaultCause, Faulty, Scored


def combine(
    verdicts: Sequence[Scored], faults: Sequence[Faulty], vote: Vote, rubric: Rubric
) -> Scored:
    """Raises Faulty unless more than half of those asked have spoken, and clearly.

    A missing verdict does not vote. A tie of a majority vote is no majority.
    """
    if len(verdicts) <= len(faults):
        raise _too_few(verdicts, faults)
    if vote == "majority":
        counts = Counter(verdict.tier for verdict in verdicts).most_common(2)
        if len(counts) > 1 and counts[0][1] == counts[1][1]:
            raise Faulty(FaultCause.NO_MAJORITY, f"a tie: {_spread(verdicts)}")
        tier = counts[0][0]
        score = fmean(verdict.score for verdict in verdicts if verdict.tier == tier)
    else:
        score = median(verdict.score for verdict in verdicts)
        tier = min(rubric.tiers, key=lambda tier: (abs(tier.score - score), tier.score)).label
    agreeing = [verdict for verdict in verdicts if verdict.tier == tier]
    return Scored(
        tier=tier,
        score=score,
        rationale=f"{_spread(verdicts)}. {agreeing[0].rationale if agreeing else ''}".strip(),
        latency_s=max(verdict.latency_s for verdict in verdicts),
        cached=all(verdict.cached for verdict in verdicts),
        demoted=any(verdict.demoted for verdict in agreeing),
        usage=sum((verdict.usage for verdict in verdicts), FREE),
    )


def _too_few(verdicts: Sequence[Scored], faults: Sequence[Faulty]) -> Faulty:
    """An outage where those who are missing are not there: they may be, later."""
    asked = len(verdicts) + len(faults)
    worst = next((fault for fault in faults if fault.cause in OUTAGES), faults[0])
    named = worst.cause in OUTAGES or not verdicts
    paid = sum((one.usage for one in (*verdicts, *faults)), FREE)
    detail = f"{len(verdicts)} of {asked} verdicts came; {worst.detail}"
    return Faulty(worst.cause if named else FaultCause.NO_MAJORITY, detail, paid)


def _spread(verdicts: Sequence[Scored]) -> str:
    counts = Counter(verdict.tier for verdict in verdicts)
    return ", ".join(f"{count} {tier}" for tier, count in counts.most_common())
