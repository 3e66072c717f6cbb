"""Who is better, by how much and how surely; and whether the judge only names who stands first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from statistics import fmean
from typing import Any

from judges.pairwise.grader import FIRST, NEITHER, SECOND, named
from judges.trust.agreement import Estimate, bootstrap
from judges.verdict import JudgeFault, Scored, Verdict

ALWAYS_FIRST = 0.9
"""A judge that names who stands first, or second, more often than this has not compared."""
TIES_BY_CHANCE = 4
"""So few pairs of answers may all be as good as each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A question that both were asked, judged with A first and with B first."""

    question: str
    a_first: Verdict
    b_first: Verdict
    is_same: bool = False
    """Both said the same, and nobody was asked."""

    @property
    def shares(self) -> tuple[float, float] | None:
        """Of A: where it stands first, and where it stands second."""
        if isinstance(self.a_first, Scored) and isinstance(self.b_first, Scored):
            return self.a_first.score, 1 - self.b_first.score
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    questions: int
    judged: int
    """In both orders."""
    same: int
    """Of them, those where both said the same: a tie, without asking."""
    wins: int
    """Of A."""
    ties: int
    losses: int
    better: Estimate
    """How surely A is the better one, on average: a tie is a half. Brackets by question."""
    p: float | None
    """Of the sign test: so many wins or losses, or more, by tossing a coin. Ties do not count."""
    first: Estimate
    """How surely who stands first is named, on average over the pairs that were asked about: a
    judge without a favourite place says a half."""
    same_both_ways: float | None
    """The share of questions where both orders name the same, or neither."""
    faults: dict[str, int]

    @property
    def only_looks_at_the_place(self) -> bool:
        return only_looks_at_the_place(self.first.value)

    @property
    def told_nobody_apart(self) -> bool:
        return self.judged - self.same > TIES_BY_CHANCE and self.ties == self.judged


def only_looks_at_the_place(first_share: float | None) -> bool:
    return first_share is not None and not 1 - ALWAYS_FIRST < first_share < ALWAYS_FIRST


def outcome(matches: Sequence[Match], *, seed: int) -> Outcome:
    judged = [(match.question, shares) for match in matches if (shares := match.shares)]
    asked = [(m.question, shares) for m in matches if not m.is_same and (shares := m.shares)]

    def estimate(
        judged: Sequence[tuple[str, tuple[float, float]]],
        of: Callable[[tuple[float, float]], float],
    ) -> Estimate:
        return bootstrap(
            judged,
            lambda rows: fmean(of(shares) for _, shares in rows) if rows else None,
            by=lambda row: row[0],
            seed=seed,
        )

    names = Counter(named(fmean(shares)) for _, shares in judged)
    decided = names[FIRST] + names[SECOND]
    stats: Any = import_module("scipy.stats")
    verdicts = [verdict for match in matches for verdict in (match.a_first, match.b_first)]
    alike = [named(first) == named(second) for _, (first, second) in judged]
    return Outcome(
        questions=len(matches),
        judged=len(judged),
        same=sum(match.is_same for match in matches),
        wins=names[FIRST],
        ties=names[NEITHER],
        losses=names[SECOND],
        better=estimate(judged, fmean),
        p=float(stats.binomtest(names[FIRST], decided).pvalue) if decided else None,
        first=estimate(asked, lambda shares: (shares[0] + 1 - shares[1]) / 2),
        same_both_ways=fmean(alike) if alike else None,
        faults=dict(Counter(v.cause.value for v in verdicts if isinstance(v, JudgeFault))),
    )
