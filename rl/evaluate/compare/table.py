"""One table of what was measured: what it holds, and how its figures are told."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from judges.trust.agreement import Estimate
from rl.evaluate.compare.figures import LEVEL, Difference, Row
from rl.evaluate.scores import CellName
from rl.evaluate.task import Metric

MINUS = "\N{MINUS SIGN}"
NOT_TOLD = "not told from nothing"


@dataclass(frozen=True, kw_only=True)
class Table:
    columns: Sequence[str]
    compared: Sequence[str]
    """Columns that are policies: each of them is held against the first."""
    rows: Sequence[Row]
    refused: Mapping[CellName, str]
    """Cells that have all their scores and no figure, each with the reason."""
    missing: Mapping[CellName, str]
    """Cells without all of their scores."""
    notes: Sequence[str]
    """What else a reader should know of the items."""
    facts: Mapping[str, Any]
    facts_of_tasks: Mapping[str, Mapping[str, Any]]
    facts_of_columns: Mapping[str, Mapping[str, Any]]


class Cell(NamedTuple):
    text: str
    note: str = ""
    """How surely."""


def header_of(table: Table) -> list[str]:
    differences = (f"{label} {MINUS} {table.compared[0]}" for label in table.compared[1:])
    return ["task", "metric", "n", *table.columns, *differences]


def cells_of(table: Table, row: Row) -> list[Cell]:
    """As the header has them."""
    differences = [
        Cell(told_difference(row, found), f"p {told_p(found)}: {verdict(row.metric, found)}")
        if (found := row.differences.get(label))
        else Cell("")
        for label in table.compared[1:]
    ]
    figures = [_cell(table, row, label) for label in table.columns]
    head = [Cell(text) for text in (row.task, row.metric.name, _told_counts(table, row))]
    return [*head, *figures, *differences]


def told_value(metric: Metric, value: float | None, digits: int = 3) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if metric.is_share else f"{value:.{digits}f}"


def told_difference(row: Row, difference: Difference) -> str:
    """With its interval; of shares in points of a hundred."""
    value = difference.estimate.value
    if value is None:
        return "-"
    return f"{_signed(row, value)} {told_interval(row, difference)}".strip()


def told_interval(row: Row, figure: Difference | Estimate) -> str:
    estimate = figure.estimate if isinstance(figure, Difference) else figure
    if estimate.low is None or estimate.high is None:
        return ""
    signed = isinstance(figure, Difference)
    ends = (_signed(row, end) if signed else _plain(row, end) for end in _ends(estimate))
    return f"[{', '.join(ends)}]"


def told_p(difference: Difference) -> str:
    """Corrected, where others are read beside it."""
    p = difference.p if difference.p_holm is None else difference.p_holm
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def verdict(metric: Metric, difference: Difference) -> str:
    """What may be said of a difference, in words."""
    value = difference.estimate.value
    if value is None or difference.p is None:
        return "not measured"
    low, high = _ends(difference.estimate)
    if low <= 0 <= high or difference.p >= LEVEL:
        return NOT_TOLD
    if difference.p_holm is not None and difference.p_holm >= LEVEL:
        return f"{NOT_TOLD} among so many"
    direction = "higher" if value > 0 else "lower"
    if metric.better is None:
        return direction
    return "better" if direction == metric.better else "worse"


def as_json(table: Table) -> dict[str, Any]:
    return {
        "header": header_of(table),
        "rows": [_row_as_json(table, row) for row in table.rows],
        "compared": list(table.compared),
        "refused": _cells_as_json(table.refused),
        "missing": _cells_as_json(table.missing),
        "notes": list(table.notes),
        "columns": {label: dict(table.facts_of_columns[label]) for label in table.columns},
        "tasks": {name: dict(facts) for name, facts in table.facts_of_tasks.items()},
        "facts": dict(table.facts),
    }


def _row_as_json(table: Table, row: Row) -> dict[str, Any]:
    metric = row.metric
    return {
        "task": row.task,
        "metric": metric.name,
        "better": metric.better,
        "is_share": metric.is_share,
        "is_primary": row.is_primary,
        "items": dict(row.counts),
        "figures": {label: asdict(figure) for label, figure in row.figures.items()},
        "differences": {
            label: asdict(each.estimate)
            | {"p": each.p, "by": each.by, "p_holm": each.p_holm}
            | {"verdict": verdict(metric, each)}
            for label, each in row.differences.items()
        },
        "told": cells_of(table, row),
    }


def _cells_as_json(cells: Mapping[CellName, str]) -> list[dict[str, str]]:
    return [{"task": cell.task, "column": cell.column, "why": why} for cell, why in cells.items()]


def _cell(table: Table, row: Row, label: str) -> Cell:
    if figure := row.figures.get(label):
        told = told_value(row.metric, figure.value, _digits(row))
        return Cell(told, told_interval(row, figure))
    name = CellName(row.task, label)
    is_missing = name in table.missing
    return Cell("refused" if name in table.refused else "unfinished" if is_missing else "")


def _told_counts(table: Table, row: Row) -> str:
    """Once, where the policies have as many. A control need not have every figure."""
    counts = [count for label, count in row.counts.items() if label in table.compared]
    return "/".join(map(str, dict.fromkeys(counts))) or "-"


def _ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def _signed(row: Row, value: float) -> str:
    plain = _plain(row, abs(value))
    return plain if float(plain) == 0 else f"{'+' if value > 0 else MINUS}{plain}"


def _plain(row: Row, value: float) -> str:
    return f"{100 * value:.1f}" if row.metric.is_share else f"{value:.{_digits(row)}f}"


def _digits(row: Row) -> int:
    """Behind the point, so that the largest figure of the row has four in all."""
    values = [abs(figure.value) for figure in row.figures.values() if figure.value]
    return min(6, max(0, 3 - math.floor(math.log10(max(values))))) if values else 3
