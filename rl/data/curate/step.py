"""What a step is, and what became of the rows that went through it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rl.data.curate.row import Row


@dataclass(frozen=True, kw_only=True)
class Step:
    """Its fields are its settings. A kind of step overrides one of the two methods, or both."""

    def rewrite(self, text: str) -> str:
        return text

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        """Why each is left out, in a few words; empty for those that stay."""
        return ["" for _ in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    row: Row
    why: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    kept: Sequence[Row]
    dropped: Sequence[Dropped]
    n_rewritten: int


def taken(step: Step, rows: Sequence[Row]) -> Outcome:
    after = [row.rewritten(step.rewrite) for row in rows]
    kept: list[Row] = []
    dropped: list[Dropped] = []
    for row, why in zip(after, step.whys(after), strict=True):
        if not row.text.strip():
            why = why or "nothing is left of it"
        if why:
            dropped.append(Dropped(row=row, why=why))
        else:
            kept.append(row)
    rewritten = sum(was is not now for was, now in zip(rows, after, strict=True))
    return Outcome(kept=kept, dropped=dropped, n_rewritten=rewritten)
