"""Panels that draw metrics as they are: a curve each, or piled up. Any of them may be missing."""

from collections.abc import Callable, Iterable, Mapping

import plotly.graph_objects as go

from rl.report.figures import Line, line_chart, stack_chart
from rl.report.panels import Record
from rl.run.folder import column

Draw = Callable[[Record], go.Figure | None]


def curves(
    colours: Mapping[str, str],
    *,
    form: str = ".2f",
    include: Iterable[float] = (0.0,),
    log_if_wide: bool = False,
    unless_zero: bool = False,
) -> Draw:
    """Of these metrics, each in a colour of the palette. `include` is what the scale must show.

    With `unless_zero` nothing is drawn where all of them are 0 all the time.
    """

    def draw(record: Record) -> go.Figure | None:
        lines = measured(record, colours)
        if unless_zero and not any(row.get(key) for row in record.run.metrics for key in colours):
            return None
        scale = {"form": form, "include": include, "log_if_wide": log_if_wide}
        scale["unit"] = record.run.unit
        return line_chart(record.run.counted(), lines, **scale) if lines else None

    return draw


def piled_up(colours: Mapping[str, str], *, form: str) -> Draw:
    def draw(record: Record) -> go.Figure | None:
        layers = measured(record, colours)
        return (
            stack_chart(record.run.counted(), layers, form=form, unit=record.run.unit)
            if layers
            else None
        )

    return draw


def measured(record: Record, colours: Mapping[str, str]) -> list[Line]:
    return [
        Line(name=key, values=column(record.run.metrics, key), colour=colour)
        for key, colour in colours.items()
        if any(key in row for row in record.run.metrics)
    ]
