"""The report's completions: the best and the worst, and held-out answers before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

from rl.report.panels import Record, Said, Table
from rl.run.folder import Run

Row = Mapping[str, Any]

MOST_CHANGED = 5


def best(record: Record) -> Table | None:
    return _cases(record.completions.best, record.completions.count)


def worst(record: Record) -> Table | None:
    return _cases(record.completions.worst, record.completions.count)


def most_improved(record: Record) -> Table | None:
    changes = changed(record.run)
    better = [change for change in changes if change[0] > 0]
    return _before_and_after(better, f"{len(better)} of {len(changes)} questions earned more")


def most_worsened(record: Record) -> Table | None:
    changes = changed(record.run)
    worse = [change for change in reversed(changes) if change[0] < 0]
    return _before_and_after(worse, f"{len(worse)} of {len(changes)} questions earned less")


def changed(run: Run) -> list[tuple[float, Row, Row]]:
    """Held-out questions by the change of their reward, with both answers; faults left out."""
    before = {row["id"]: row for row in reversed(run.heldout_before) if "id" in row}
    after = {row["id"]: row for row in reversed(run.heldout_after) if "id" in row}
    pairs = [
        (after[id_]["reward"] - before[id_]["reward"], before[id_], after[id_])
        for id_ in before
        if id_ in after and None not in (before[id_].get("reward"), after[id_].get("reward"))
    ]
    return sorted(pairs, key=lambda pair: -pair[0])


def _cases(rows: Sequence[Row], count: int) -> Table | None:
    cells = [(_question(row), _answer(row), Said(row.get("rationale") or "")) for row in rows]
    header = ("Question and truth", "Answer", "The judge")
    return Table(header, cells, f"{len(cells)} of {count:,} completions") if cells else None


def _before_and_after(changes: Sequence[tuple[float, Row, Row]], caption: str) -> Table | None:
    shown = changes[:MOST_CHANGED]
    cells = [(_question(was), _answer(was), _answer(now)) for _, was, now in shown]
    header = ("Question and truth", "Before", "After")
    return Table(header, cells, caption) if cells else None


def _question(row: Row) -> Said:
    return Said(row.get("question") or "", note=row.get("truth") or "")


def _answer(row: Row) -> Said:
    facts = [
        f"{row['reward']:+.2f}" if row.get("reward") is not None else "no reward",
        f"generation {row['generation']}" if row.get("generation") else None,
        f"{row['n_tokens']} tokens" if "n_tokens" in row else None,
    ]
    return Said(
        row.get("answer") or "(nothing)",
        tier=str(row.get("tier")),
        facts=" · ".join(fact for fact in facts if fact),
        reasoning=row.get("reasoning") or "",
    )
