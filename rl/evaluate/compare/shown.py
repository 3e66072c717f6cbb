"""A table where it is read: in the terminal, as Markdown, as JSON. The report has it too."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table as RichTable

from rl.evaluate.cells import Cells
from rl.evaluate.compare.chance import RESAMPLES
from rl.evaluate.compare.figures import LEVEL
from rl.evaluate.compare.table import (
    Table,
    as_json,
    cells_of,
    header_of,
    told_difference,
    told_p,
    verdict,
)
from rl.evaluate.task import Score
from rl.run.drift import flat
from rl.run.folder import RunLog
from rl.run.progress import console_of

HOW_TO_READ = (
    "Differences are paired by item; those of shares are in points of a hundred. In brackets is "
    f"the 95 % interval of {RESAMPLES:,} draws of the items. p is McNemar's exact test where each "
    "item is right or wrong, and else the paired permutation test's; that of a task's first metric "
    "is corrected by Holm for all of these in the table. “Not told from nothing” is a difference "
    f"whose interval holds 0 or whose p is {LEVEL} or more."
)


def write_table(table: Table, log: RunLog) -> None:
    """table.md for people, table.json for whatever reads on."""
    log.text("table.md", as_markdown(table))
    log.text("table.json", json.dumps(as_json(table), indent=2, ensure_ascii=False, default=str))


def write_answers(cells: Cells, folder: Path) -> None:
    """Written answers as whoever compares or rates answers reads them: `python -m judges pairwise`,
    `python -m judges axes`."""
    for name in cells:
        if rows := [row for score in cells.known(name) for row in _written(score)]:
            file = folder / name.task / f"{name.column}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.write_text("".join(lines), encoding="utf-8")


def _written(score: Score) -> Iterator[Mapping[str, Any]]:
    asked = {name: value for name, value in score.shown.items() if name != "answers"}
    yield from ({**asked, **answer} for answer in score.shown.get("answers", ()))


def print_table(table: Table, stream: TextIO | None = None) -> None:
    """Figures, then a line for each difference that a table is read for."""
    console = console_of(stream or sys.stdout)
    shown = RichTable(box=None, padding=(0, 2, 0, 0), header_style="none")
    header = header_of(table)[: 3 + len(table.columns)]
    for place, name in enumerate(header):
        shown.add_column(name, justify="left" if place < 2 else "right", no_wrap=place >= 2)
    for row in table.rows:
        task, *cells = (cell.text for cell in cells_of(table, row)[: len(header)])
        shown.add_row(task if row.is_primary else "", *cells)
    console.print("", shown, "")
    for line in (*told_differences(table), *told_gaps(table), *table.notes):
        console.print(line, soft_wrap=True)


def told_differences(table: Table) -> Iterator[str]:
    """In words, of each task's first metric."""
    for label in table.compared[1:]:
        for row in table.rows:
            if row.is_primary and (found := row.differences.get(label)):
                what = f"{row.task}, {row.metric.name}: {label} against {table.compared[0]}"
                figures = f"{told_difference(row, found)}, p {told_p(found)}"
                yield f"{what} {figures}: {verdict(row.metric, found)}"


def told_gaps(table: Table) -> Iterator[str]:
    for what, cells in (("refused", table.refused), ("unfinished", table.missing)):
        yield from (f"{what}: {cell}: {why}" for cell, why in cells.items())


def as_markdown(table: Table) -> str:
    header = header_of(table)
    parts = [
        _markdown_row(header),
        _markdown_row(["---", "---", *["---:"] * (len(header) - 2)]),
        *(
            _markdown_row(["<br>".join(filter(None, cell)) for cell in cells_of(table, row)])
            for row in table.rows
        ),
        "",
        HOW_TO_READ,
        "",
        *(f"- {line}" for line in (*told_differences(table), *told_gaps(table), *table.notes)),
    ]
    for title, facts in (
        ("Tasks", table.facts_of_tasks),
        ("Columns", table.facts_of_columns),
        ("Made with", {"": table.facts}),
    ):
        parts += ["", f"## {title}", ""]
        parts += [f"- {_told_facts(name, facts[name])}" for name in facts]
    return "\n".join(parts) + "\n"


def _told_facts(name: str, facts: Mapping[str, Any]) -> str:
    """Those that say something: what is off or empty is in table.json."""
    said = "; ".join(f"{what} {value}" for what, value in flat(facts) if value)
    return f"{name}: {said}" if name else said


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
