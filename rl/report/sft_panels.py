"""What runs of supervised fine-tuning show: the loss, the update, the rows, answers to read."""

import itertools
import math

import plotly.graph_objects as go

from rl.report.curves import curves
from rl.report.figures import Line, line_chart, share_chart
from rl.report.panels import Panel, Record, Said, Section, Table
from rl.run.folder import column

ANSWERS_SHOWN = 8
HELDOUT_LOSS = "heldout/loss"
COLOURS = ("blue", "orange", "green", "purple", "red")
BLUES = ("tier-4", "tier-3", "tier-2", "tier-1", "tier-0", "gate-0", "gate-1", "gate-2")


def loss(record: Record) -> go.Figure | None:
    run = record.run
    if not run.metrics:
        return None
    lines = [Line(name="training rows", values=column(run.metrics, "loss"), colour="blue")]
    points = [(row["step"], row["heldout/loss"]) for row in run.metrics if "heldout/loss" in row]
    if points:
        xs, losses = [float(x) for x, _ in points], [figure for _, figure in points]
        lines.append(Line(name="held-out rows", values=losses, x=xs, colour="orange"))
    if published := run.config.get("published", {}).get("loss"):
        first, last = ([edge] * len(run.metrics) for edge in published)
        name = f"published, from {published[0]:.3f} to"
        lines.append(Line(name=name, values=last, colour="green", band=(last, first)))
    return line_chart(run.counted(), lines, form=".3f", unit=run.unit, height_px=360)


def perplexities(record: Record) -> go.Figure | None:
    """Of each domain of the held-out rows."""
    run, lines = record.run, []
    domains = dict.fromkeys(
        key for row in run.metrics for key in row if key.startswith(f"{HELDOUT_LOSS}/")
    )
    for key, colour in zip(domains, itertools.cycle(COLOURS)):
        points = [(float(row["step"]), math.exp(row[key])) for row in run.metrics if key in row]
        xs, figures = [x for x, _ in points], [figure for _, figure in points]
        name = key.removeprefix(f"{HELDOUT_LOSS}/")
        lines.append(Line(name=name, values=figures, x=xs, colour=colour))
    if not lines:
        return None
    return line_chart(run.counted(), lines, form=".3g", unit=run.unit, log_if_wide=True)


def lengths(record: Record) -> go.Figure | None:
    shares = record.run.summary.get("lengths")
    if not shares:
        return None
    colours = {length: BLUES[place % len(BLUES)] for place, length in enumerate(shares)}
    return share_chart({"rows": shares}, colours)


def answers(record: Record) -> Table | None:
    run = record.run
    before = {(row["id"], row["how"]): row for row in run.heldout_before if "how" in row}
    after = [row for row in run.heldout_after if (row.get("id"), row.get("how")) in before]
    cells = [
        (
            Said(row["question"], note=row["truth"]),
            _answer(before[row["id"], row["how"]]),
            _answer(row),
        )
        for row in after[:ANSWERS_SHOWN]
    ]
    header = ("Question and written answer", "Before", "After")
    return Table(header, cells, f"{len(cells)} of {len(after)}") if cells else None


def _answer(row: dict) -> Said:
    return Said(
        row["answer"] or "(nothing)",
        tier="ended" if row["ended"] else "cut off",
        facts=f"{row['how']} · {row['n_tokens']} tokens",
        reasoning=row["reasoning"],
    )


SECTIONS = (
    Section(
        "The loss",
        (
            Panel(
                "Loss",
                "Mean over the learnt tokens, of each step's rows and of the held-out rows. Where "
                "the held-out loss rises again, the rows are being learnt by heart.",
                loss,
                True,
            ),
            Panel(
                "Perplexity by domain",
                "Of the held-out rows of each source: what is read should fall, and what is not "
                "should not rise.",
                perplexities,
                True,
            ),
        ),
    ),
    Section(
        "The update",
        (
            Panel("Learning rate", "As it rises and falls.", curves({"lr": "blue"}, form=".2g")),
            Panel("Gradient norm", "Before it is clipped.", curves({"grad_norm": "blue"})),
            Panel(
                "Speed",
                "Tokens a second, prompts included.",
                curves({"tokens_per_s": "green"}, form=".0f"),
            ),
            Panel("Length", "Share of the rows by their length in tokens.", lengths),
        ),
    ),
    Section(
        "Answers to read",
        (Panel("Held-out answers", "Before and after, greedily first.", answers, True),),
    ),
)
