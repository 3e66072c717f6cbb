"""From what a judge said to what people would have: a logistic curve, two numbers a language.

It is drawn over places on a line: the odds of an expected score, or whole tiers. Isotonic
regression follows the noise of a hundred labelled answers, and makes ties of what was told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

ANY = "any"
"""The curve of a language that was not measured, or too seldom."""
EDGE = 1e-6
"""So near 0 or 1 a share is certain."""
ALMOST_SURE = 36.0
"""Odds from which on, a little further, a float no longer tells a share from 1."""
LEAST = 10
"""Right answers, and wrong ones, that a language needs for a curve of its own."""


@dataclass(frozen=True, slots=True)
class Curve:
    slope: float
    intercept: float

    def at(self, place: float) -> float:
        """What people would give there, as a share of the most."""
        return share_at(self.slope * place + self.intercept)

    def where(self, share: float) -> float:
        """The inverse."""
        return (odds_of(share) - self.intercept) / self.slope


def odds_of(share: float) -> float:
    share = min(max(share, EDGE), 1 - EDGE)
    return math.log(share / (1 - share))


def share_at(odds: float) -> float:
    return 1 / (1 + math.exp(-min(odds, ALMOST_SURE)))


def fitted(places: Sequence[float], wanted: Sequence[float]) -> Curve | None:
    """`wanted` are shares of 1. None where further up the line is no more wanted."""
    linear: Any = import_module("sklearn.linear_model")
    weights = [*wanted, *(1 - each for each in wanted)]
    if sum(wanted) in (0, len(wanted)):
        return None
    rows = [[place] for place in places]
    kinds = [1] * len(rows) + [0] * len(rows)
    model = linear.LogisticRegression().fit([*rows, *rows], kinds, sample_weight=weights)
    slope, intercept = float(model.coef_[0][0]), float(model.intercept_[0])
    return Curve(slope, intercept) if slope > 0 else None


def fitted_by_language(
    langs: Sequence[str], places: Sequence[float], wanted: Sequence[float], right: Sequence[bool]
) -> Mapping[str, Curve]:
    """Of `ANY`, and of each language that has enough to go by. Empty where there is no curve."""
    pooled = fitted(places, wanted)
    if pooled is None:
        return {}
    curves = {ANY: pooled}
    for lang in sorted(set(langs)):
        here = [i for i, each in enumerate(langs) if each == lang]
        rights = sum(right[i] for i in here)
        if min(rights, len(here) - rights) >= LEAST and len(here) < len(langs):
            own = fitted([places[i] for i in here], [wanted[i] for i in here])
            curves |= {lang: own} if own else {}
    return curves
