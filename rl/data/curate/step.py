"""What a step is, and what became of the rows that went through it."""

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rl.data.curate.row import Row
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class Step:
    """Its fields are its settings. A kind of step overrides one of the two methods, or both."""

    def rewrite(self, text: str) -> str:
        return text

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        """Why each is left out, in a few words; empty for those that stay."""
        return ["" for _ in rows]


def check_package(package: str, step: str) -> None:
    """Refuse a step whose package is not installed."""
    if importlib.util.find_spec(package) is None:
        raise Refusal(f"{step} needs {package}. Type: pip install {package}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    row: Row
    why: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    kept: Sequence[Row]
    dropped: Sequence[Dropped]
    n_rewritten: int
    """Of those that are kept."""


def taken(step: Step, rows: Sequence[Row]) -> Outcome:
    after = [row.rewritten(step.rewrite) for row in rows]
    kept: list[Row] = []
    dropped: list[Dropped] = []
    n_rewritten = 0
    for was, row, why in zip(rows, after, step.whys(after), strict=True):
        if not row.text.strip():
            why = why or "nothing is left of it"
        if why:
            dropped.append(Dropped(row=row, why=why))
        else:
            kept.append(row)
            n_rewritten += row is not was
    return Outcome(kept=kept, dropped=dropped, n_rewritten=n_rewritten)
