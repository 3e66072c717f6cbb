"""Figures over what a run counts in, by plotly: curves, and shares piled up."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import plotly.graph_objects as go

from rl.report.palette import COLOUR, FAINT, PALE

HEIGHT_PX = 290
FONT = 'system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif'
MARKED = 40  # so many points are marked one by one
LONGEST_NAME = 40
SMOOTHED = 60  # from so many rows on, curves are smoothed

Values = Sequence[float]  # NaN where nothing was measured


@dataclass(frozen=True, kw_only=True)
class Line:
    """A curve. `band` lies between two others; `x` only where its points are others.

    `colour` is a name of the palette.
    """

    name: str
    values: Values
    colour: str
    band: tuple[Values, Values] | None = None
    x: Values | None = None


def line_chart(
    counted: Values,
    lines: Sequence[Line],
    *,
    form: str = ".2f",
    include: Iterable[float] = (),
    log_if_wide: bool = False,
    unit: str = "generation",
    height_px: float = HEIGHT_PX,
) -> go.Figure:
    """Curves on one scale, which shows the values to `include`.

    With `log_if_wide` it is logarithmic where the values span more than two decades.
    """
    figure = _figure(counted, form, unit, height_px)
    points = [value for line in lines for value in _measured(line)]
    if log_if_wide and _is_wide(points):
        figure.update_yaxes(type="log", tickformat="~g", dtick=1, range=_decades(points))
    else:
        figure.update_yaxes(range=_padded([*points, *include]))
    xs = [*counted, *(x for line in lines for x in line.x or ())]
    figure.update_xaxes(range=_room(xs))
    window = smoothing_window(len(counted))
    for line in lines:
        if line.x is None and window > 1:
            figure.add_trace(_unsmoothed(counted, line))
            line = _smoothed(line, window)
        if line.band:
            figure.add_trace(_band(counted, line.band, line.colour))
        figure.add_trace(_curve(counted, line, form))
    return figure


def stack_chart(
    counted: Values, layers: Sequence[Line], *, form: str = ".0%", unit: str = "generation"
) -> go.Figure:
    """Layers on top of one another, the first at the bottom. What is missing is nothing."""
    figure = _figure(counted, form, unit)
    window = smoothing_window(len(counted))
    layers = [
        replace(
            layer, values=smoothed([v if math.isfinite(v) else 0.0 for v in layer.values], window)
        )
        for layer in layers
    ]
    figure.update_yaxes(
        range=[0, max(map(sum, zip(*(layer.values for layer in layers), strict=True))) or 1.0]
    )
    for layer in layers:
        named = {"name": _legend(layer, form), "hovertemplate": _tip(layer.name, form)}
        if len(counted) == 1:  # an area of one point would not be seen
            bar = go.Bar(
                x=[*counted],
                y=_drawable(layer.values),
                marker_color=COLOUR[layer.colour],
                width=0.5,
                **named,
            )
            figure.add_trace(bar)
        else:
            area = go.Scatter(
                x=[*counted],
                y=_drawable(layer.values),
                stackgroup="all",
                mode="lines",
                line={"width": 0, "color": COLOUR[layer.colour]},
                fillcolor=COLOUR[layer.colour],
                **named,
            )
            figure.add_trace(area)
    return figure.update_layout(barmode="stack")


def share_chart(bars: Mapping[str, Mapping[str, float]], colours: Mapping[str, str]) -> go.Figure:
    """A bar for each name, the first on top, cut by its shares; the larger ones are written in."""
    figure = _figure([], ".0%").update_layout(barmode="stack", hovermode="closest", bargap=0.35)
    figure.update_layout(margin_r=24, uniformtext={"mode": "hide", "minsize": 11})
    figure.update_xaxes(range=[0, 1], tickformat=".0%", title_text=None, dtick=0.2)
    figure.update_yaxes(autorange="reversed", ticklabelstandoff=6, tickformat=None)
    for part, colour in colours.items():
        shares = [of_part.get(part, 0.0) for of_part in bars.values()]
        bar = go.Bar(
            orientation="h",
            x=shares,
            y=[*bars],
            name=_plain(part),
            marker_color=COLOUR[colour],
            text=[f"{share:.0%}" if share >= 0.06 else "" for share in shares],
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            hovertemplate=f"{_plain(part)} %{{x:.0%}}<extra></extra>",
        )
        figure.add_trace(bar)
    return figure


def heat_chart(
    counted: Values, shares: Sequence[Sequence[float]], bins: Sequence[str], *, unit: str
) -> go.Figure:
    """A column for each of `counted`, whose shares of the bins are the darker the larger."""
    figure = _figure(counted, "", unit).update_layout(hovermode="closest")
    figure.update_yaxes(type="category", showgrid=False, nticks=len(bins), ticks="")
    heat = go.Heatmap(
        x=[*counted],
        y=[*bins],
        z=[_drawable(of_bin) for of_bin in zip(*shares, strict=True)],
        zmin=0,
        zmax=0.5,
        colorscale=[[0, COLOUR["card"]], [1, COLOUR["blue"]]],
        showscale=False,
        hovertemplate=f"{unit} %{{x}}, %{{y}}: %{{z:.0%}}<extra></extra>",
    )
    return figure.add_trace(heat)


def smoothing_window(rows: int) -> int:
    return rows // 20 if rows >= SMOOTHED else 1


def smoothed(values: Values, window: int) -> list[float]:
    """Each value's mean with its neighbours, as many on either side; what is missing stays so."""
    # sums up to each place: a window over 10,000 rows is as quick as one over 100
    sums = [0.0, *accumulate(value if math.isfinite(value) else 0.0 for value in values)]
    counts = [0, *accumulate(math.isfinite(value) for value in values)]
    means = []
    for place, value in enumerate(values):
        reach = min(window // 2, place, len(values) - 1 - place)
        first, end = place - reach, place + reach + 1
        is_measured = math.isfinite(value)
        mean = (sums[end] - sums[first]) / (counts[end] - counts[first]) if is_measured else value
        means.append(mean)
    return means


def _smoothed(line: Line, window: int) -> Line:
    band = tuple(smoothed(edge, window) for edge in line.band) if line.band else None
    return replace(line, values=smoothed(line.values, window), band=band)


def _figure(counted: Values, form: str, unit: str = "", height_px: float = HEIGHT_PX) -> go.Figure:
    layout = go.Layout(
        template="none",
        height=height_px,
        margin={"l": 44, "r": 16, "t": 8, "b": 34},
        paper_bgcolor=COLOUR["card"],
        plot_bgcolor=COLOUR["card"],
        font={"family": FONT, "size": 12, "color": COLOUR["soft"]},
        title={"x": 0.0, "xref": "paper", "font": {"size": 15, "color": COLOUR["ink"]}},
        hovermode="x unified",
        hoverlabel={
            "bgcolor": COLOUR["card"],
            "bordercolor": COLOUR["rule"],
            "font": {"family": FONT, "size": 12, "color": COLOUR["ink"]},
        },
        showlegend=True,
        legend={
            "orientation": "h",
            "traceorder": "normal",
            "maxheight": 0.9,
            "x": 0,
            "xanchor": "left",
            "y": 1.03,
            "yanchor": "bottom",
        },
    )
    figure = go.Figure(layout=layout)
    grid = {"gridcolor": COLOUR["rule"], "zeroline": False, "linecolor": COLOUR["rule"]}
    figure.update_yaxes(**grid, automargin=True, nticks=6, tickformat=form if "%" in form else None)
    figure.update_xaxes(
        **grid,
        showgrid=False,
        tickformat="d",
        title={"text": unit, "font": {"size": 11}, "standoff": 6},
        unifiedhovertitle_text=f"{unit} %{{x}}",
    )
    if len(counted) <= 10:
        figure.update_xaxes(dtick=1)
    return figure


def _curve(counted: Values, line: Line, form: str) -> go.Scatter:
    xs = [*(counted if line.x is None else line.x)]
    marked = len(xs) <= MARKED
    return go.Scatter(
        x=xs,
        y=_drawable(line.values),
        customdata=[*zip(*map(_drawable, line.band), strict=True)] if line.band else None,
        name=_legend(line, form),
        mode="lines+markers" if marked else "lines",
        line={"color": COLOUR[line.colour], "width": 2, "dash": "dot" if line.x else "solid"},
        marker={"size": 9 if line.x else 5},
        hovertemplate=_tip(line.name, form, has_band=line.band is not None),
    )


def _unsmoothed(counted: Values, line: Line) -> go.Scatter:
    return go.Scatter(
        x=[*counted],
        y=_drawable(line.values),
        mode="lines",
        line={"color": COLOUR[line.colour] + PALE, "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )


def _band(counted: Values, band: tuple[Values, Values], colour: str) -> go.Scatter:
    """The area between the two, once round its edge."""
    edges = zip(counted, *band, strict=True)
    measured = [edge for edge in edges if all(map(math.isfinite, edge))]
    xs, lows, highs = (
        ([*column] for column in zip(*measured, strict=True)) if measured else ([],) * 3
    )
    return go.Scatter(
        x=xs + xs[::-1],
        y=_drawable(highs + lows[::-1]),
        fill="toself",
        fillcolor=COLOUR[colour] + FAINT,
        mode="lines",
        line={"width": 0, "color": COLOUR[colour] + FAINT},
        hoverinfo="skip",
        showlegend=False,
    )


def _drawable(values: Values) -> list[float | None]:
    """A gap for what is missing, and no more digits than can be seen: they are most of a file."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]


def _plain(name: str) -> str:
    """Text that plotly takes for neither markup nor a value, and that leaves the chart its room."""
    short = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
    return html.escape(short.replace("%{", "% {"), quote=False)


def _legend(line: Line, form: str) -> str:
    """Its name and its latest value."""
    measured = [value for value in line.values if math.isfinite(value)]
    latest = f"  <b>{measured[-1]:{form}}</b>" if measured else ""
    return _plain(line.name) + latest


def _tip(name: str, form: str, *, has_band: bool = False) -> str:
    low, high = (f"%{{customdata[{edge}]:{form}}}" for edge in (0, 1))
    between = f"  ({low} to {high})" if has_band else ""
    return f"{_plain(name)}  %{{y:{form}}}{between}<extra></extra>"


def _measured(line: Line) -> list[float]:
    values = [*line.values, *(value for edge in line.band or () for value in edge)]
    return [value for value in values if math.isfinite(value)]


def _is_wide(points: Sequence[float]) -> bool:
    """Zeros are left out of a logarithmic scale; where anything is negative there can be none."""
    positive = [point for point in points if point > 0]
    return bool(positive) and min(points) >= 0 and max(positive) > 100 * min(positive)


def _decades(points: Sequence[float]) -> list[float]:
    """The five under the largest: two programs that agree to the last digit are not worth ten."""
    high = max(points)
    low = max(min(point for point in points if point > 0), high * 1e-5)
    return [math.log10(low / 1.5), math.log10(high * 1.5)]


def _room(xs: Values) -> list[float]:
    pad = (max(xs) - min(xs)) * 0.02 or 0.5
    return [min(xs) - pad, max(xs) + pad]


def _padded(points: Sequence[float]) -> list[float]:
    """A little room around the values, but none under a scale that begins at 0."""
    low, high = (min(points), max(points)) if points else (0.0, 1.0)
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return [low if low == 0 else low - pad, high + pad]
