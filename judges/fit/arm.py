"""One way of asking beside another on the same answers, each calibrated where it was chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from judges.fit.curve import ANY, Curve, fitted, fitted_by_language, odds_of, share_at
from judges.fit.ways import Said
from judges.trust.agreement import (
    Estimate,
    auc_within,
    bootstrap,
    calibration_error,
    share,
    youden,
)
from judges.trust.labelled import Labelled

WorthOf = Callable[[Labelled], float]
"""What people's label is worth, as a share of the most that any is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What is worth how much that was said by one way of asking."""

    curves: Mapping[str, Curve]
    right_share: float
    """Calibrated; from here on an answer counts as right."""
    nothing: float
    """What an answer is worth that a line-up demoted."""

    def seen(self, said: Said, worth_of: WorthOf) -> Seen | None:
        if said.place is None:
            return None
        lang = said.row.request.lang
        curve = self.curves.get(lang, self.curves[ANY])
        share = self.nothing if said.demoted else curve.at(said.place)
        return Seen(
            question=said.row.request.question,
            lang=lang,
            right=said.row.right,
            worth=worth_of(said.row),
            share=share,
            passes=share >= self.right_share,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A labelled answer as a calibrated judge sees it."""

    question: str
    lang: str
    right: bool
    worth: float
    share: float
    passes: bool


def scaled(said: Sequence[Said], worth_of: WorthOf, nothing: float) -> Scale | None:
    """None where right answers do not score above wrong ones."""
    scored = [
        (each.row, each.place) for each in said if each.place is not None and not each.demoted
    ]
    rows, places = [row for row, _ in scored], [place for _, place in scored]
    right = [row.right for row in rows]
    langs = [row.request.lang for row in rows]
    curves = fitted_by_language(langs, places, list(map(worth_of, rows)), right)
    if not curves:
        return None
    calibrated = [
        odds_of(curves.get(lang, curves[ANY]).at(place))
        for lang, place in zip(langs, places, strict=True)
    ]
    odds = fitted(calibrated, list(map(float, right)))
    if odds is None:
        return None
    return Scale(curves=curves, right_share=share_at(odds.where(0.5)), nothing=nothing)


def _auc(seen: Sequence[Seen]) -> float | None:
    return auc_within(
        [each.share for each in seen], [each.right for each in seen], [each.lang for each in seen]
    )


FIGURES: Mapping[str, Callable[[Sequence[Seen]], float | None]] = {
    "auc": _auc,
    "accuracy": lambda seen: share([each.passes == each.right for each in seen]),
    "j": lambda seen: youden([each.passes for each in seen], [each.right for each in seen]),
    "calibration_error": lambda seen: calibration_error(
        [each.share for each in seen], [each.worth for each in seen]
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of the chosen way and of the plain question, and by how much the first is more."""

    ours: Estimate
    plain: Estimate
    gap: Estimate


def compared(pairs: Sequence[tuple[Seen, Seen]], *, seed: int) -> dict[str, Compared]:
    """`pairs` are the same answers, seen both ways. Brackets are of the questions."""

    def estimate(of: Callable[[Sequence[tuple[Seen, Seen]]], float | None]) -> Estimate:
        return bootstrap(pairs, of, by=lambda pair: pair[0].question, seed=seed)

    def both(figure: Callable[[Sequence[Seen]], float | None]) -> Compared:
        def gap(rows: Sequence[tuple[Seen, Seen]]) -> float | None:
            own, its = figure([one for one, _ in rows]), figure([other for _, other in rows])
            return None if own is None or its is None else own - its

        return Compared(
            ours=estimate(lambda rows: figure([one for one, _ in rows])),
            plain=estimate(lambda rows: figure([other for _, other in rows])),
            gap=estimate(gap),
        )

    return {name: both(figure) for name, figure in FIGURES.items()}
