"""The datasheet as a page: the steps and the lengths drawn, rows to read."""

import plotly.graph_objects as go

from rl.data.curate.sheet import Sheet, counted
from rl.report.figures import share_chart
from rl.report.page import framed
from rl.report.panels import Panel, Said, Section, Table, Tile

GREENS_TO_RED = ("tier-4", "tier-3", "tier-2", "tier-1", "tier-0")
LENGTH_COLOURS = (*GREENS_TO_RED, "gate-0", "gate-1", "gate-2", "blue", "teal", "purple")
DROPPED_SHOWN = 3


def as_page(sheet: Sheet) -> str:
    read = sheet.steps[0].rows
    dropped = read - sheet.rows
    return framed(
        sheet,
        SECTIONS,
        title=sheet.name,
        facts=[f"content {sheet.sha}", f"text in {', '.join(sheet.columns)}"],
        tiles=[
            Tile("Rows", f"{sheet.rows:,}", "of those that were read", was=f"{read:,}"),
            Tile("Words", f"{sheet.after.words:,}", "in them", was=f"{sheet.before.words:,}"),
            Tile("Dropped", f"{dropped / read:.1%}", f"{dropped:,} rows"),
            Tile("Time", f"{sum(step.seconds for step in sheet.steps):.0f} s", "of all steps"),
        ],
    )


def what_became_of_rows(sheet: Sheet) -> go.Figure:
    """Of all rows that were read, whatever step comes first."""
    read = sheet.steps[0].rows
    bars = {
        f"{place}. {step.name}": {
            "rewritten": step.rewritten / read,
            "as they were": (step.rows - step.rewritten - step.dropped) / read,
            "dropped here": step.dropped / read,
            "dropped before": 1 - step.rows / read,
        }
        for place, step in enumerate(sheet.steps, 1)
    }
    colours = {"rewritten": "tier-3", "as they were": "tier-4", "dropped here": "tier-0"}
    figure = share_chart(bars, colours | {"dropped before": "fault"})
    return figure.update_yaxes(dtick=1)


def lengths(sheet: Sheet) -> go.Figure:
    both = {"before": sheet.before.rows_up_to, "after": sheet.after.rows_up_to}
    bars = {
        moment: {top: count / sum(tops.values()) for top, count in tops.items()}
        for moment, tops in both.items()
    }
    met = [top for top in sheet.before.rows_up_to if any(tops[top] for tops in both.values())]
    return share_chart(bars, dict(zip(met, LENGTH_COLOURS, strict=False)))


def steps(sheet: Sheet) -> Table:
    header = ("Step", "Rows", "Rewritten", "Dropped", "Seconds")
    rows = [
        (
            step.told,
            f"{step.rows:,}",
            f"{step.rewritten:,}",
            f"{step.dropped:,}",
            f"{step.seconds:.1f}",
        )
        for step in sheet.steps
    ]
    return Table(header, [[Said(cell) for cell in row] for row in rows])


def sources(sheet: Sheet) -> Table:
    rows = [
        (each.name, each.sha, f"{each.rows:,}", f"{each.kept:,}", counted(each.licences))
        for each in sheet.sources
    ]
    header = ("Source", "Content", "Rows", "Kept", "Licences")
    return Table(header, [[Said(cell) for cell in row] for row in rows])


def examples(sheet: Sheet) -> Table:
    return Table(("Text",), [[Said(text)] for text in sheet.examples])


def dropped(sheet: Sheet) -> Table | None:
    rows = [
        (Said(step.name), Said(each["why"], note=each["where"]), Said(each["text"]))
        for step in sheet.steps
        for each in step.samples[:DROPPED_SHOWN]
    ]
    return Table(("Step", "Why", "Text"), rows) if rows else None


SECTIONS = (
    Section(
        "Where they come from",
        (Panel("Sources", "Licences are of the rows that are left, as they say.", sources, True),),
    ),
    Section(
        "What the steps did",
        (
            Panel("Rows", "What each step did to all rows that were read.", what_became_of_rows),
            Panel("Lengths", "Share of the rows by their length in words.", lengths),
            Panel("Steps", "In their order, with their settings.", steps, True),
        ),
    ),
    Section(
        "Rows to read",
        (
            Panel("Left", "Drawn from those that are left.", examples, True),
            Panel(
                "Dropped",
                "Drawn from what each step dropped; more is in dropped.jsonl.",
                dropped,
                True,
            ),
        ),
    ),
)
