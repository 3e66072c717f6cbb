"""What chance would do with scores: draws of the items, swaps of two columns, and corrections.

Items are drawn again with replacement, the same draws for every column, so that a difference is
between answers to the same questions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import binomtest

from rl.evaluate.task import Metric, Quotient, Score

RESAMPLES = 10_000
RESAMPLES_AT_ONCE = 500

Drawn = dict[str, np.ndarray]
"""By column, the figure of each draw; NaN where there was nothing to count."""


def draw(
    metrics: Sequence[Metric], scores: Mapping[str, Sequence[Score]], *, seed: int
) -> list[Drawn]:
    """For each metric what it comes to when the items are drawn again, for all columns at once."""
    rng = np.random.default_rng(seed)
    items = max(map(len, scores.values()), default=0)
    parts = [_parts(metric, scores) for metric in metrics]
    drawn: list[list[np.ndarray]] = [[] for _ in metrics]
    for _ in range(RESAMPLES // RESAMPLES_AT_ONCE if items else 0):
        counts_RN = _times_drawn(rng, items)
        for metric, part, chunks in zip(metrics, parts, drawn, strict=True):
            chunks.append(_of_draws(metric, part, scores, counts_RN))
    labels = list(scores)
    return [
        dict(zip(labels, np.concatenate(chunks, axis=1), strict=True)) if chunks else {}
        for chunks in drawn
    ]


def permutation(
    metric: Metric, first: Sequence[Score], other: Sequence[Score], *, seed: int
) -> float:
    """Two-sided; what was found counts as one of the draws, so it is never 0."""
    rng = np.random.default_rng(seed)
    found = np.diff(_of_swapped(metric, first, other, np.zeros((1, len(first)))), axis=0)
    beyond = 0
    for _ in range(RESAMPLES // RESAMPLES_AT_ONCE):
        swaps_RN = rng.integers(2, size=(RESAMPLES_AT_ONCE, len(first))).astype(float)
        drawn = np.diff(_of_swapped(metric, first, other, swaps_RN), axis=0)
        beyond += int((np.abs(drawn) >= np.abs(found) * (1 - 1e-9)).sum())
    return (beyond + 1) / (RESAMPLES + 1)


def mcnemar(first: Sequence[float], other: Sequence[float]) -> float:
    """The chance of so uneven a split, or more so, of the items on which the two differ."""
    wins = sum(b > a for a, b in zip(first, other, strict=True))
    losses = sum(b < a for a, b in zip(first, other, strict=True))
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """Step down: the smallest counts as often as there are, the next one time less, and so on."""
    order = np.argsort(ps, kind="stable")
    stepped = [min(1.0, (len(ps) - rank) * ps[place]) for rank, place in enumerate(order)]
    corrected = np.empty(len(ps))
    corrected[order] = np.maximum.accumulate(stepped) if stepped else []
    return corrected.tolist()


def _of_swapped(
    metric: Metric, first: Sequence[Score], other: Sequence[Score], swaps_RN: np.ndarray
) -> np.ndarray:
    """2 x draws: the figures of both sides, where some items have changed sides."""
    parts = _parts(metric, {"first": first, "other": other})
    if parts is not None:
        moved_2R = (parts[1] - parts[0]) @ swaps_RN.T
        sums_C2R = parts.sum(2)[..., None] + np.array([moved_2R, -moved_2R])
        return _quotients(metric, sums_C2R)
    pairs = list(zip(first, other, strict=True))
    sides = [
        [pair[side ^ int(swap)] for pair, swap in zip(pairs, row, strict=True)]
        for side in (0, 1)
        for row in swaps_RN
    ]
    return np.array([metric.of(side) for side in sides], dtype=float).reshape(2, -1)


def _times_drawn(rng: np.random.Generator, items: int) -> np.ndarray:
    """How often each item is in each of so many draws with replacement."""
    picks_RN = rng.integers(items, size=(RESAMPLES_AT_ONCE, items))
    picks_RN += items * np.arange(RESAMPLES_AT_ONCE)[:, None]
    counts = np.bincount(picks_RN.ravel(), minlength=RESAMPLES_AT_ONCE * items)
    return counts.reshape(RESAMPLES_AT_ONCE, items).astype(float)


def _parts(metric: Metric, scores: Mapping[str, Sequence[Score]]) -> np.ndarray | None:
    """Columns x 2 x items: what each score adds above and below, where the figure is so made."""
    if not isinstance(metric.of, Quotient):
        return None
    return np.array([np.array([*map(metric.of.parts, own)]).T for own in scores.values()])


def _of_draws(
    metric: Metric,
    parts_C2N: np.ndarray | None,
    scores: Mapping[str, Sequence[Score]],
    counts_RN: np.ndarray,
) -> np.ndarray:
    """Columns x draws."""
    if parts_C2N is None:
        places = [np.repeat(np.arange(len(row)), row.astype(int)) for row in counts_RN]
        figures = [[metric.of([own[i] for i in p]) for p in places] for own in scores.values()]
        return np.array(figures, dtype=float)
    return _quotients(metric, parts_C2N @ counts_RN.T)


def _quotients(metric: Metric, sums_C2R: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients_CR = sums_C2R[:, 0] / sums_C2R[:, 1]
    assert isinstance(metric.of, Quotient)
    return metric.of.then(quotients_CR) if metric.of.then else quotients_CR
