"""What answers are worth on each axis, how surely, and whether the judge told them apart at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from judges.axes.question import Rated
from judges.trust.agreement import Estimate, bootstrap
from judges.verdict import JudgeFault, Verdict

SAME_BY_CHANCE = 4
"""So few answers may be worth the same."""

Row = tuple[str, dict[str, int]]
"""A question, and how an answer to it was rated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    answers: int
    judged: int
    axes: dict[str, Estimate]
    """Mean ratings. Brackets by question."""
    mean: Estimate
    """Of all axes."""
    counts: dict[str, dict[int, int]]
    """How often each rating was given, by axis."""
    alike: float | None
    """The share of answers with the same rating on every axis."""
    faults: dict[str, int]

    @property
    def told_nothing_apart(self) -> bool:
        given = {rating for counts in self.counts.values() for rating in counts}
        return self.judged > SAME_BY_CHANCE and len(given) == 1

    @property
    def flat(self) -> list[str]:
        """Axes on which every answer got the same rating."""
        if self.judged <= SAME_BY_CHANCE:
            return []
        return [name for name, counts in self.counts.items() if len(counts) == 1]


def outcome(
    questions: Sequence[str], verdicts: Sequence[Verdict], names: Sequence[str], *, seed: int
) -> Outcome:
    rows = [
        (question, verdict.ratings)
        for question, verdict in zip(questions, verdicts, strict=True)
        if isinstance(verdict, Rated)
    ]

    def estimate(of: Callable[[dict[str, int]], float]) -> Estimate:
        return bootstrap(
            rows,
            lambda drawn: fmean(of(ratings) for _, ratings in drawn) if drawn else None,
            by=lambda row: row[0],
            seed=seed,
        )

    return Outcome(
        answers=len(verdicts),
        judged=len(rows),
        axes={name: estimate(lambda ratings, name=name: ratings[name]) for name in names},
        mean=estimate(lambda ratings: fmean(ratings.values())),
        counts={
            name: dict(sorted(Counter(ratings[name] for _, ratings in rows).items()))
            for name in names
        },
        alike=fmean(len({*ratings.values()}) == 1 for _, ratings in rows) if rows else None,
        faults=dict(Counter(v.cause.value for v in verdicts if isinstance(v, JudgeFault))),
    )
