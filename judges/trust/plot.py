"""Pictures of a judge, each one HTML file that opens offline: who called what what, with the ROC
curve; and what scores promise beside what they are worth.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from statistics import fmean
from typing import Any

from judges.trust.agreement import binned


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


def reliability_html(promises: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """By name, what was said to be worth how much and what it is worth, as shares of the most."""
    graphs: Any = import_module("plotly.graph_objects")
    figure = graphs.Figure()
    figure.add_trace(graphs.Scatter(x=[0, 1], y=[0, 1], line_dash="dot", name="what is said is so"))
    for name, pairs in promises.items():
        bins = [bin for bin in binned([said for said, _ in pairs], pairs) if bin]
        figure.add_trace(
            graphs.Scatter(
                x=[fmean(said for said, _ in bin) for bin in bins],
                y=[fmean(worth for _, worth in bin) for bin in bins],
                text=[f"{len(bin)} answers" for bin in bins],
                mode="lines+markers",
                name=name,
            )
        )
    figure.update_xaxes(title="what the calibrated score promises, as a share of the most")
    figure.update_yaxes(title="what people's labels are worth")
    figure.update_layout(template="plotly_white")
    return str(figure.to_html())
