"""How far two graders agree, and how sure one can be of it. Plain functions over plain numbers."""

import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TypeVar

T = TypeVar("T")
Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its 95 % interval. `None` where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None


def share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def wilson(hits: int, total: int, z: float = Z95) -> Estimate:
    """A share with Wilson's interval, which is honest about 0 of n."""
    if total == 0:
        return Estimate(value=None, low=None, high=None)
    p = hits / total
    widening = 1 + z * z / total
    centre = (p + z * z / (2 * total)) / widening
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / widening
    low = 0.0 if hits == 0 else max(0.0, centre - half)  # rounding must not put p outside
    high = 1.0 if hits == total else min(1.0, centre + half)
    return Estimate(value=p, low=low, high=high)


def auc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """The chance that a right answer scores above a wrong one, a tie being worth half."""
    positives = sum(right)
    negatives = len(right) - positives
    if not positives or not negatives:
        return None
    rank_sum = 0.0
    below = 0
    ordered = sorted(zip(scores, right, strict=True), key=lambda pair: pair[0])
    for _, tied in groupby(ordered, key=lambda pair: pair[0]):
        hits = [hit for _, hit in tied]
        rank_sum += sum(hits) * (below + (len(hits) + 1) / 2)
        below += len(hits)
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def weighted_kappa(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Cohen's kappa with quadratic weights over ranks: 1 agreement, 0 chance, below 0 worse.

    Undefined where both graders gave everything the same rank.
    """
    if not pairs:
        return None
    n = len(pairs)
    observed = sum((a - b) ** 2 for a, b in pairs) / n
    firsts, seconds = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    by_chance = sum(
        count_a * count_b * (a - b) ** 2
        for a, count_a in firsts.items()
        for b, count_b in seconds.items()
    ) / (n * n)
    return 1 - observed / by_chance if by_chance else None


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
    ordered = sorted(each for each in drawn if each is not None)
    return Estimate(value=value, low=quantile(ordered, 0.025), high=quantile(ordered, 0.975))


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """Of sorted numbers, with a straight line between neighbours."""
    if not ordered:
        return None
    place = q * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


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
