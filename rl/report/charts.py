"""Charts as inline SVG: lines with bands, and stacked areas, over generations."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rl.report.markup import Markup, el, join

WIDTH, HEIGHT = 560, 220  # of a chart, unless it is told to be taller
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 26

Values = Sequence[float]  # NaN where nothing was measured


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve. `band` fills between two others; `x` only where its points are not generations."""

    name: str
    values: Values
    colour: str
    band: tuple[Values, Values] | None = None
    x: Values | None = None


@dataclass(frozen=True, kw_only=True)
class Scale:
    low: float
    high: float
    from_px: float
    to_px: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(v, self.low)) for v in (value, low, high))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.from_px + share * (self.to_px - self.from_px), 1)

    def ticks(self, count: int = 4) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            every = max(1, math.ceil((last - first + 1) / 5))
            return [10.0**power for power in range(first, last + 1, every)]
        if self.high == self.low:
            return [self.low]
        step = _nice_step((self.high - self.low) / count)
        return [step * n for n in range(math.ceil(self.low / step), int(self.high / step + 1.001))]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What the two kinds of chart share: generations below, values at the left, tips on hover."""

    generations: Values
    form: str
    height: float = HEIGHT
    drawn: list[Markup] = field(default_factory=list)

    def svg(self, x: Scale, y: Scale, tips: list[str], label: str) -> Markup:
        return el(
            "svg",
            *(_grid_line(y(tick), _short(tick, self.form)) for tick in y.ticks()),
            *self.drawn,
            *(
                _generation_label(x(tick), self.height - 8, tick)
                for tick in x.ticks(8)
                if tick == int(tick)
            ),
            el("line", class_="cursor", y1=TOP, y2=self.height - BOTTOM, x1=-9, x2=-9),
            viewBox=f"0 0 {WIDTH} {self.height}",
            role="img",
            aria_label=label,
            data_x=json.dumps([x(generation) for generation in self.generations]),
            data_tips=json.dumps(tips),
        )


def line_chart(
    generations: Values,
    series: Sequence[Line],
    *,
    label: str,
    form: str = "{:.2f}",
    include: Iterable[float] = (),
    height: float = HEIGHT,
) -> Markup:
    """Curves on one scale: logarithmic where positive values span more than two decades."""
    points = [v for line in series for v in _all_values(line) if math.isfinite(v)]
    log = bool(points) and min(points) > 0 and max(points) > 100 * min(points)
    points += [] if log else list(include)
    low, high = _padded(points, log)
    y = Scale(low=low, high=high, from_px=height - BOTTOM, to_px=TOP, log=log)
    xs = [*generations, *(x for line in series for x in line.x or ())]
    x = Scale(low=min(xs), high=max(xs), from_px=LEFT + 6, to_px=WIDTH - RIGHT - 6)
    chart = Chart(generations=generations, form="log" if log else form, height=height)
    for line in series:
        chart.drawn.extend(_draw(line, [x(at) for at in line.x or generations], y))
    tips = _tips(generations, [(s.name, s.values, form) for s in series if s.x is None])
    return join([_legend(series, form), chart.svg(x, y, tips, label)])


def stack_chart(
    generations: Values, layers: Sequence[Line], *, label: str, form: str = "{:.0%}"
) -> Markup:
    """Layers on top of one another, the first at the bottom. What is missing is nothing."""
    heights = [[v if math.isfinite(v) else 0.0 for v in layer.values] for layer in layers]
    tops = [sum(column) for column in zip(*heights, strict=True)]
    y = Scale(low=0.0, high=max(tops) or 1.0, from_px=HEIGHT - BOTTOM, to_px=TOP)
    x = Scale(
        low=min(generations), high=max(generations), from_px=LEFT + 6, to_px=WIDTH - RIGHT - 6
    )
    chart = Chart(generations=generations, form=form)
    xs = [x(generation) for generation in generations]
    if len(xs) == 1:  # a block instead of a hairline
        xs = [xs[0] - 40, xs[0] + 40]
        heights = [height * 2 for height in heights]
    below = [0.0] * len(xs)
    for layer, height in zip(layers, heights, strict=True):
        above = [b + h for b, h in zip(below, height, strict=True)]
        chart.drawn.append(_area(xs, [y(v) for v in below], [y(v) for v in above], layer.colour))
        below = above
    tips = _tips(generations, [(s.name, s.values, form) for s in reversed(layers)])
    return join([_legend(layers, form), chart.svg(x, y, tips, label)])


def share_bar(shares: Sequence[tuple[str, float, str]]) -> Markup:
    """One bar cut by shares of (name, share, colour), with the larger ones written in."""
    return el(
        "div",
        *(
            el(
                "span",
                f"{share:.0%}" if share >= 0.08 else "",
                style=f"flex:{share:.4f};background:{colour}",
                title=f"{name} {share:.0%}",
            )
            for name, share, colour in shares
            if share
        ),
        class_="bar",
    )


def _legend(series: Sequence[Line], form: str) -> Markup:
    """Names with their colours and latest values."""
    keys = []
    for line in series:
        swatch = el("i", style=f"background:{line.colour}")
        measured = [value for value in line.values if math.isfinite(value)]
        last = el("b", _short(measured[-1], form)) if measured else None
        keys.append(el("span", swatch, line.name, last))
    return el("div", *keys, class_="legend")


def _nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)


def _padded(points: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = (min(points), max(points)) if points else (0.0, 1.0)
    if log:
        return low / 1.5, high * 1.5
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return low if low == 0 else low - pad, high + pad


def _all_values(line: Line) -> list[float]:
    return [
        *line.values,
        *(line.band[0] if line.band else ()),
        *(line.band[1] if line.band else ()),
    ]


def _draw(line: Line, xs: Values, y: Scale) -> list[Markup]:
    drawn = []
    if line.band:
        measured = [
            (at, y(low), y(high))
            for at, low, high in zip(xs, *line.band, strict=True)
            if math.isfinite(low) and math.isfinite(high)
        ]
        if measured:
            drawn.append(_area(*zip(*measured, strict=True), line.colour, opacity="0.16"))
    ys = [y(v) if math.isfinite(v) else math.nan for v in line.values]
    dashes = "5 4" if line.x else None
    drawn.append(
        el("path", d=_path(xs, ys), stroke=line.colour, class_="curve", stroke_dasharray=dashes)
    )
    if len(xs) <= 40:
        radius = 4 if line.x or len(xs) == 1 else 2.2
        drawn += [
            el("circle", cx=at, cy=v, r=radius, fill=line.colour)
            for at, v in zip(xs, ys, strict=True)
            if math.isfinite(v)
        ]
    return drawn


def _path(xs: Values, ys: Values) -> str:
    """A line through the points, broken where one is missing."""
    steps, pen_is_down = [], False
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(y):
            steps.append(f"{'L' if pen_is_down else 'M'}{x} {y}")
        pen_is_down = math.isfinite(y)
    return " ".join(steps)


def _area(xs: Values, below: Values, above: Values, colour: str, opacity: str = "0.92") -> Markup:
    there = [f"{x},{y}" for x, y in zip(xs, above, strict=True)]
    back = [f"{x},{y}" for x, y in zip(xs, below, strict=True)][::-1]
    return el("polygon", points=" ".join(there + back), fill=colour, fill_opacity=opacity)


def _tips(generations: Values, named: Sequence[tuple[str, Values, str]]) -> list[str]:
    return [
        "\n".join(
            [f"generation {generation:g}"]
            + [f"{name}  {_short(v[i], form)}" for name, v, form in named if math.isfinite(v[i])]
        )
        for i, generation in enumerate(generations)
    ]


def _short(value: float, form: str) -> str:
    if form == "log" or (value and "%" not in form and abs(value) < 0.01):
        return f"{value:.2g}"
    return form.format(value)


def _grid_line(y_px: float, text: str) -> Markup:
    line = el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y_px, y2=y_px, class_="grid")
    return join([line, el("text", text, x=LEFT - 6, y=y_px + 3.5, text_anchor="end")])


def _generation_label(x_px: float, y_px: float, generation: float) -> Markup:
    return el("text", f"{generation:g}", x=x_px, y=y_px, text_anchor="middle")
