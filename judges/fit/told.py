"""What a fit found, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from judges.fit.arm import Compared
from judges.fit.found import Fit
from judges.fit.ways import Tried
from judges.trust.labelled import Labelled

NAMES = {
    "auc": "AUC, within a language",
    "accuracy": "right or wrong, at its cut",
    "j": "J: right less wrong that pass",
    "calibration_error": "calibration error",
}


def as_text(found: Fit, cuts: Mapping[str, float]) -> str:
    choosing, reporting = found.halves
    judge = found.judge
    lines = [
        f"backend={judge.backend} model={Path(judge.model or '').name} rubric={judge.rubric}",
        f"chosen on {_counted(choosing)}, reported on {_counted(reporting)}",
        "",
        f"{'way of asking':28} {'AUC':7} {'tokens':>7} {'ms':>6}  attacks  faults",
        *(_tried(each, found) for each in (found.plain, *found.tried)),
    ]
    if found.chosen and found.scale and found.costs:
        ours, plain = found.costs
        faults = len(reporting) - len(found.seen)
        lines += [
            "",
            f"{'on the other half':32} {found.chosen.name:26} {'plain question':26} difference",
            *(_compared(NAMES[name], each) for name, each in found.figures.items()),
            _costs("tokens read anew, and written", ours.tokens, plain.tokens),
            _costs("milliseconds", ours.ms, plain.ms),
            "(brackets hold 95 %, by question; both have a cut and a curve from the first half"
            + (f"; {faults} answers got no verdict of one or the other)" if faults else ")"),
            "counts as right from, as the judge says it: "
            + ", ".join(f"{lang} {cut:.3f}" for lang, cut in cuts.items()),
        ]
    return "\n".join(lines)


def _compared(name: str, figure: Compared) -> str:
    gap = "-" if figure.gap.low is None else f"{figure.gap:+.3f}"
    return f"{name:32} {f'{figure.ours:.3f}':26} {f'{figure.plain:.3f}':26} {gap}"


def _tried(tried: Tried, found: Fit) -> str:
    believed = found.choice.fooled.get(tried.name)
    cells = (
        f"{'* ' if tried is found.chosen else '  '}{tried.name:26}",
        f"{'-' if tried.auc is None else f'{tried.auc:.3f}':7}",
        f"{tried.cost.tokens:7.0f}",
        f"{_number(tried.cost.ms):>6}",
        f"{'' if believed is None else f'{believed.value:.0%}':>7}",
        "",
        ", ".join(f"{count} {cause}" for cause, count in tried.faults.items()),
    )
    return " ".join(cells).rstrip()


def _costs(name: str, ours: float | None, plain: float | None) -> str:
    ratio = f"x {ours / plain:.2f}" if ours and plain else "-"
    return f"{name:32} {_number(ours):26} {_number(plain):26} {ratio}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _counted(rows: Sequence[Labelled]) -> str:
    return f"{len(rows)} answers to {len({row.request.question for row in rows})} questions"
