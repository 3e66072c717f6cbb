"""The picture of a calibration: who called what what, and the ROC curve. One SVG, nothing else."""

from collections.abc import Mapping, Sequence
from html import escape

CELL_W, CELL_H, LEFT, TOP, CURVE, GAP = 92, 34, 110, 70, 240, 70
INK, QUIET, BLUE = "#1c2733", "#7a8794", (38, 99, 184)


def calibration_svg(
    confusion: Mapping[str, Mapping[str, int]],
    roc: Sequence[tuple[float, float]],
    tiers: Sequence[str],
    fault: str,
) -> str:
    labels = [label for label in dict.fromkeys((*tiers, *confusion)) if label in confusion]
    said = [*tiers, fault]
    parts = [_text(LEFT, 24, "What the judge said of what people labelled", size=15)]
    parts += [
        _text(LEFT + (i + 0.5) * CELL_W, TOP - 8, name, "middle") for i, name in enumerate(said)
    ]
    for row, label in enumerate(labels):
        y = TOP + row * CELL_H
        parts.append(_text(LEFT - 8, y + CELL_H / 2 + 4, label, "end"))
        total = sum(confusion[label].values())
        for column, name in enumerate(said):
            count = confusion[label].get(name, 0)
            parts.append(_cell(LEFT + column * CELL_W, y, count, count / total, label == name))
    width, height = LEFT + len(said) * CELL_W + 20, TOP + len(labels) * CELL_H + 20
    if roc:
        parts += _curve(roc, width + GAP, TOP)
        width, height = width + GAP + CURVE + 30, max(height, TOP + CURVE + 50)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _cell(x: float, y: float, count: int, part: float, agrees: bool) -> str:
    shade = ",".join(str(round(255 - (255 - c) * part)) for c in BLUE)
    edge = f' stroke="{INK}"' if agrees else ""
    box = f'<rect x="{x + 1}" y="{y + 1}" width="{CELL_W - 2}" height="{CELL_H - 2}"'
    ink = "white" if part > 0.5 else INK
    number = _text(x + CELL_W / 2, y + CELL_H / 2 + 4, str(count), "middle", ink)
    return f'{box} fill="rgb({shade})"{edge}/>{number}'


def _curve(roc: Sequence[tuple[float, float]], x: float, y: float) -> list[str]:
    def at(point: tuple[float, float]) -> str:
        return f"{x + point[0] * CURVE:.1f},{y + (1 - point[1]) * CURVE:.1f}"

    line = " ".join(at(point) for point in roc)
    return [
        _text(x, 24, "Right against wrong answers, for every cut", size=15),
        f'<rect x="{x}" y="{y}" width="{CURVE}" height="{CURVE}" fill="none" stroke="{QUIET}"/>',
        f'<polyline points="{at((0, 0))} {at((1, 1))}" stroke="{QUIET}" stroke-dasharray="4"/>',
        f'<polyline points="{line}" fill="none" stroke="rgb{BLUE}" stroke-width="2"/>',
        _text(x + CURVE / 2, y + CURVE + 20, "wrong answers that pass", "middle"),
        _text(x, y - 8, "right answers that pass"),
    ]


def _text(
    x: float, y: float, text: str, anchor: str = "start", fill: str = INK, size: int = 12
) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}"'
    return f"<text {place}>{escape(text)}</text>"
