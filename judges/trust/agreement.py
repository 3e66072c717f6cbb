"""How far two graders agree, and how sure one can be of it. Plain functions over plain numbers.

Each of a thousand resamples asks for them again, so scipy and numpy count: scikit-learn has the
same figures and takes fifty times as long. Loaded where they are used: nothing else needs them.
"""

import math
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, groupby
from typing import Any, TypeVar

T = TypeVar("T")
BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval. `None` where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None

    def __format__(self, spec: str) -> str:
        """The figure, and its interval in brackets, each as the spec says for a number."""
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return format(self.value, spec)
        low, high = (format(end, spec).strip() for end in (self.low, self.high))
        return f"{self.value:{spec}} [{low}, {high}]"


def share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def wilson(hits: int, total: int) -> Estimate:
    """A share with Wilson's interval, which is honest about 0 of n."""
    if total == 0:
        return Estimate(value=None, low=None, high=None)
    stats: Any = import_module("scipy.stats")
    found = stats.binomtest(hits, total).proportion_ci(method="wilson")
    return Estimate(value=hits / total, low=float(found.low), high=float(found.high))


def auc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """The chance that a right answer scores above a wrong one, a tie being worth half."""
    positives = sum(right)
    negatives = len(right) - positives
    if not positives or not negatives:
        return None
    stats: Any = import_module("scipy.stats")
    ranks = stats.rankdata(scores)
    above = sum(rank for rank, hit in zip(ranks.tolist(), right, strict=True) if hit)
    return (above - positives * (positives + 1) / 2) / (positives * negatives)


def auc_within(
    scores: Sequence[float], right: Sequence[bool], groups: Sequence[Hashable]
) -> float | None:
    """The same, of pairs within a group: one language may be scored higher than another."""
    rows = list(zip(groups, scores, right, strict=True))
    areas: list[tuple[float, int]] = []
    for group in dict.fromkeys(groups):
        here = [(score, hit) for own, score, hit in rows if own == group]
        area = auc([score for score, _ in here], [hit for _, hit in here])
        hits = sum(hit for _, hit in here)
        areas += [] if area is None else [(area, hits * (len(here) - hits))]
    pairs = sum(count for _, count in areas)
    return sum(area * count for area, count in areas) / pairs if pairs else None


def youden(passes: Sequence[bool], right: Sequence[bool]) -> float | None:
    """J: the share of right answers that pass, less that of wrong ones."""
    rights = share([passed for passed, hit in zip(passes, right, strict=True) if hit])
    wrongs = share([passed for passed, hit in zip(passes, right, strict=True) if not hit])
    return None if rights is None or wrongs is None else rights - wrongs


def binned(said: Sequence[float], rows: Sequence[T]) -> list[list[T]]:
    """Rows by what is said of them, in ten bins from 0 to 1."""
    bins: list[list[T]] = [[] for _ in range(BINS)]
    for one, row in zip(said, rows, strict=True):
        bins[min(max(int(one * BINS), 0), BINS - 1)].append(row)
    return bins


def calibration_error(said: Sequence[float], worth: Sequence[float]) -> float | None:
    """How far what is said is from what is so, on average, over ten bins of what is said."""
    gaps = [one - other for one, other in zip(said, worth, strict=True)]
    return sum(abs(sum(bin)) for bin in binned(said, gaps)) / len(said) if said else None


def weighted_kappa(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Cohen's kappa with quadratic weights over ranks: 1 agreement, 0 chance, below 0 worse.

    Undefined where both graders gave everything the same rank.
    """
    if not pairs:
        return None
    import numpy as np

    a, b = np.array(pairs, dtype=float).T
    by_chance = float(a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    return 1 - float(((a - b) ** 2).mean()) / by_chance if by_chance else None


def bootstrap(
    rows: Sequence[T],
    statistic: Callable[[Sequence[T]], float | None],
    *,
    by: Callable[[T], Hashable] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The statistic and the middle 95 % of what it is on rows drawn again with replacement.

    Rows that are the same `by` something are drawn together. Of one such group alone nobody can
    tell how another would come out.
    """
    value = statistic(rows)
    if value is None:
        return Estimate(value=None, low=None, high=None)
    groups: dict[Hashable, list[T]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(by(row) if by else i, []).append(row)
    if len(groups) == 1:
        return Estimate(value=value, low=None, high=None)
    rng = random.Random(seed)
    piles = list(groups.values())
    drawn = (
        statistic(list(chain.from_iterable(rng.choices(piles, k=len(piles)))))
        for _ in range(resamples)
    )
    figures = [each for each in drawn if each is not None]
    if not figures:
        return Estimate(value=value, low=None, high=None)
    import numpy as np

    low, high = np.quantile(figures, (0.025, 0.975))
    return Estimate(value=value, low=float(low), high=float(high))


def best_cut(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """The lowest score that best counts as right: it gets most answers on their proper side."""
    if not scores:
        return None
    ordered = sorted(zip(scores, right, strict=True), key=lambda pair: pair[0], reverse=True)
    best, cut = sum(not hit for hit in right), math.inf  # nothing counts as right
    proper = best
    for score, tied in groupby(ordered, key=lambda pair: pair[0]):
        hits = [hit for _, hit in tied]
        proper += 2 * sum(hits) - len(hits)
        if proper > best:
            best, cut = proper, score
    return cut


def accuracy_at_held_out_cut(
    scores: Sequence[float], right: Sequence[bool], *, seed: int = 0
) -> float | None:
    """Each half is cut where the other half says, so that no row chooses its own cut."""
    rows = list(zip(scores, right, strict=True))
    random.Random(seed).shuffle(rows)
    halves = rows[::2], rows[1::2]
    if not halves[1]:
        return None
    proper = 0
    for chosen_on, judged in (halves, halves[::-1]):
        cut = best_cut([score for score, _ in chosen_on], [hit for _, hit in chosen_on])
        assert cut is not None
        proper += sum((score >= cut) == hit for score, hit in judged)
    return proper / len(rows)
