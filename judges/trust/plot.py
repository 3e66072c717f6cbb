"""The picture of a calibration: who called what what, and the ROC curve. One HTML file, offline."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any


def calibration_html(
    confusion: Mapping[str, Mapping[str, int]], roc: Sequence[tuple[float, float]]
) -> str:
    subplots: Any = import_module("plotly.subplots")
    graphs: Any = import_module("plotly.graph_objects")
    counts = [list(row.values()) for row in confusion.values()]
    figure = subplots.make_subplots(
        cols=2,
        subplot_titles=(
            "What the judge said (across) of what people labelled (down)",
            "Right against wrong answers, for every cut",
        ),
    )
    shares = [[count / sum(row) for count in row] for row in counts]
    figure.add_trace(
        graphs.Heatmap(
            x=list(next(iter(confusion.values()))),
            y=list(confusion),
            z=shares,
            text=counts,
            texttemplate="%{text}",
            colorscale="Blues",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(graphs.Scatter(x=[0, 1], y=[0, 1], line_dash="dot"), row=1, col=2)
    figure.add_trace(
        graphs.Scatter(x=[x for x, _ in roc], y=[y for _, y in roc], name="judge"), row=1, col=2
    )
    figure.update_traces(showscale=False, selector={"type": "heatmap"})
    figure.update_yaxes(autorange="reversed", col=1)
    figure.update_xaxes(title="wrong answers that pass", col=2)
    figure.update_yaxes(title="right answers that pass", col=2)
    figure.update_layout(template="plotly_white", showlegend=False)
    return str(figure.to_html())
