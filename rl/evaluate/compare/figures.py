"""What scores come to: figures, paired differences, and how surely they are told from nothing.

A difference has the interval of its draws, and the p of the paired permutation test: how often so
large a difference, or a larger one, comes of swapping the two columns' scores item by item at
random. Of right and wrong that is counted without drawing: McNemar's exact test.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from judges.trust.agreement import Estimate, wilson
from rl.evaluate.compare.chance import draw, holm, mcnemar, permutation
from rl.evaluate.task import Metric, Quotient, Score

LEVEL = 0.05

By = Literal["McNemar, exact", "paired permutation"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of a column less the first."""

    estimate: Estimate
    p: float | None
    by: By
    p_holm: float | None = None
    """Of a task's first metric: p corrected for all of these that are read at once."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A metric of a task, for every column that was measured on it."""

    task: str
    metric: Metric
    is_primary: bool
    counts: Mapping[str, int]
    """Items that have the figure's value, by column."""
    figures: Mapping[str, Estimate]
    differences: Mapping[str, Difference]


def rows_of(
    task: str,
    metrics: Sequence[Metric],
    scores: Mapping[str, Sequence[Score]],
    *,
    compared: Sequence[str],
    seed: int,
) -> Iterator[Row]:
    """`scores` by column, of the same items in the same order. All of `compared` are held against
    the first of them."""
    here = [label for label in compared if label in scores]
    against = compared[0] if here and here[0] == compared[0] else None
    drawn = draw(metrics, scores, seed=seed)
    for metric, draws in zip(metrics, drawn, strict=True):
        others = [label for label in here if label != against] if against else []
        yield Row(
            task=task,
            metric=metric,
            is_primary=metric is metrics[0],
            counts={label: _count(metric, own) for label, own in scores.items()},
            figures={label: _figure(metric, own, draws[label]) for label, own in scores.items()},
            differences={
                label: _difference(
                    metric,
                    scores[against],
                    scores[label],
                    draws[label] - draws[against],
                    seed=seed,
                )
                for label in others
                if against and _count(metric, scores[against])
            },
        )


def with_holm(rows: Sequence[Row]) -> list[Row]:
    """Corrected over every difference of a first metric: those are what a table is read for."""
    primary = [
        (place, label, difference.p)
        for place, row in enumerate(rows)
        if row.is_primary
        for label, difference in row.differences.items()
        if difference.p is not None
    ]
    corrected = holm([p for _, _, p in primary])
    new = [dict(row.differences) for row in rows]
    for (place, label, _), p_holm in zip(primary, corrected, strict=True):
        new[place][label] = dataclasses.replace(new[place][label], p_holm=p_holm)
    return [
        dataclasses.replace(row, differences=differences)
        for row, differences in zip(rows, new, strict=True)
    ]


def _figure(metric: Metric, scores: Sequence[Score], draws: np.ndarray) -> Estimate:
    if (hits := _hits(metric, scores)) is not None:
        return wilson(int(sum(hits)), len(hits))
    return _estimate(metric.of(scores), draws, items=len(scores))


def _difference(
    metric: Metric,
    first: Sequence[Score],
    other: Sequence[Score],
    draws: np.ndarray,
    *,
    seed: int,
) -> Difference:
    was, now = metric.of(first), metric.of(other)
    value = None if was is None or now is None else now - was
    estimate = _estimate(value, draws, items=len(first))
    ours, theirs = _hits(metric, first), _hits(metric, other)
    if ours is not None and theirs is not None and len(ours) == len(theirs) == len(first):
        return Difference(estimate=estimate, p=mcnemar(ours, theirs), by="McNemar, exact")
    p = None if value is None else permutation(metric, first, other, seed=seed)
    return Difference(estimate=estimate, p=p, by="paired permutation")


def _estimate(value: float | None, draws: np.ndarray, *, items: int) -> Estimate:
    """The middle 95 % of what was drawn. Of a single item nobody can tell how another would be."""
    counted = draws[np.isfinite(draws)]
    if value is None or items < 2 or len(counted) == 0:
        return Estimate(value=value, low=None, high=None)
    low, high = np.quantile(counted, (LEVEL / 2, 1 - LEVEL / 2))
    return Estimate(value=value, low=float(low), high=float(high))


def _hits(metric: Metric, scores: Sequence[Score]) -> list[float] | None:
    """The 0s and 1s that the figure is the share of, if it is."""
    of: Any = metric.of
    if not isinstance(of, Quotient) or of.below or of.then:
        return None
    values = [score.values[of.above] for score in scores if of.above in score.values]
    return values if all(value in (0, 1) for value in values) else None


def _count(metric: Metric, scores: Sequence[Score]) -> int:
    of: Any = metric.of
    if not isinstance(of, Quotient):
        return len(scores)
    return sum(of.parts(score)[1] != 0 for score in scores)
