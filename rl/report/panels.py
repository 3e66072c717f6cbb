"""What a page is made of. A stage brings sections of panels; the page lays them out.

A panel is a title, how to read it, and a function that draws it from a run's record, or from a data
set's sheet: as a plotly figure, as a table, or as None where there is nothing of it, and then it is
left out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rl.report.digest import Digest, digest
from rl.report.palette import tier_colours
from rl.run.folder import Run, read_run

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run as panels see it: its rows, and what one pass over its completions gathers."""

    run: Run
    completions: Digest
    tiers: dict[str, str]  # the best first, each with the name of its colour


def read_record(folder: Path) -> Record:
    run = read_run(folder)
    heldout = (*run.heldout_before, *run.heldout_after)
    completions = digest(run.rollouts(), heldout)
    tiers = [key[5:] for row in run.metrics for key in row if key.startswith("tier/")]
    tiers += [str(row["tier"]) for row in heldout if "tier" in row]
    colours = tier_colours(tiers, completions.score_of_tier)
    return Record(run=run, completions=completions, tiers=colours)


class Said(NamedTuple):
    """A cell of text that a model or a person wrote, with what belongs to it."""

    text: str
    note: str = ""
    tier: str = ""
    facts: str = ""
    reasoning: str = ""


class Table(NamedTuple):
    header: Sequence[str]
    rows: Sequence[Sequence[Said]]
    caption: str = ""


class Panel(NamedTuple):
    title: str
    how_to_read: str
    draw: "Callable[[Any], Figure | Table | None]"
    full_width: bool = False


class Section(NamedTuple):
    title: str
    panels: Sequence[Panel]


class Tile(NamedTuple):
    """A figure of the headline. `was` is what it came from, `change` by how much."""

    name: str
    figure: str
    note: str
    was: str = ""
    change: str = ""
    direction: str = ""


def figures(record: Record, sections: Iterable[Section]) -> "Iterator[tuple[str, Figure]]":
    """Each figure with its title above and its names beside it, as it is shown without a page."""
    beside = {"orientation": "v", "x": 1.02, "y": 1.0, "yanchor": "top"}
    for section in sections:
        for panel in section.panels:
            drawn: Any = panel.draw(record)
            if drawn is not None and not isinstance(drawn, Table):
                yield (
                    panel.title,
                    drawn.update_layout(title_text=panel.title, margin_t=44, legend=beside),
                )
