"""What runs of evaluation show: the table, what it leaves out, and what it was made of."""

import json
from collections.abc import Mapping
from typing import Any

from rl.report.panels import Panel, Record, Said, Section, Table
from rl.run.drift import flat


def table(record: Record) -> Table | None:
    found = _read(record)
    if not found:
        return None
    rows = [[Said(text, note=note) for text, note in row["told"]] for row in found["rows"]]
    return Table(found["header"], rows)


def gaps(record: Record) -> Table | None:
    found = _read(record)
    rows = [
        [Said(what), Said(cell["task"]), Said(cell["column"]), Said(cell["why"])]
        for what in ("refused", "missing")
        for cell in found.get(what, ())
    ]
    return Table(("", "Task", "Column", "Why"), rows) if rows else None


def notes(record: Record) -> Table | None:
    rows = [[Said(note)] for note in _read(record).get("notes", ())]
    return Table(("",), rows) if rows else None


def facts(record: Record) -> Table | None:
    found = _read(record)
    rows = [
        [Said(f"{kind[:-1]} {name}"), Said(_told(of))]
        for kind in ("tasks", "columns")
        for name, of in found.get(kind, {}).items()
    ]
    rows += [[Said("made with"), Said(_told(found["facts"]))]] if found else []
    return Table(("", ""), rows) if rows else None


def _told(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in flat(facts) if value)


def _read(record: Record) -> dict[str, Any]:
    path = record.run.folder / "table.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


SECTIONS = (
    Section(
        "The table",
        (
            Panel(
                "Who is better, by how much, how surely",
                "Each column's figure with its 95 % interval, then its difference to the first, "
                "paired by item; of shares in points of a hundred. p is McNemar's exact test where "
                "each item is right or wrong, else the paired permutation test's; that of a task's "
                "first metric is corrected by Holm for all of these. A difference whose interval "
                "holds 0 is not told from nothing.",
                table,
                True,
            ),
            Panel("What has no figure", "And why.", gaps, True),
            Panel(
                "What training may have held",
                "Items that share so many words in a row with training data may be known by heart.",
                notes,
                True,
            ),
        ),
    ),
    Section(
        "What was measured",
        (Panel("Tasks, columns, versions", "What every figure depends on.", facts, True),),
    ),
)
