"""The scores of a run on disk: appended as they are known, so that nothing is computed twice.

A file a cell, `scores/TASK/COLUMN.jsonl`. Its first line says what the scores depend on; scores of
something else are put aside and never mixed with new ones.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rl.evaluate.task import Score
from rl.refusal import Refusal
from rl.run.folder import cut_torn_line, read_rows


class CellName(NamedTuple):
    task: str
    column: str

    def __str__(self) -> str:
        return f"{self.task}: {self.column}"


class ScoreFile:
    """Opened, it holds what was scored before; what is scored now is added to both."""

    def __init__(self, folder: Path, name: CellName, depends_on: Mapping[str, Any]) -> None:
        self.path = folder / name.task.replace(":", "-") / f"{name.column}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._scores: dict[str, Score] = {}
        of = hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode())
        header = {"of": of.hexdigest()[:16]}
        cut_torn_line(self.path)
        rows = read_rows(self.path)
        if (first := next(rows, None)) is None:
            self._append(header)
        elif first == header:
            self._scores = {row["item"]: Score(**row) for row in rows}
        else:
            self._put_aside()
            self._append(header)

    def of(self, items: Sequence[str]) -> list[Score]:
        """Those that are known, in that order."""
        return [self._scores[item] for item in items if item in self._scores]

    def add(self, score: Score) -> None:
        for name, value in score.values.items():
            if not math.isfinite(value):
                raise Refusal(f"{name} of item {score.item} is {value}, which is no measurement")
        values = {name: float(value) for name, value in score.values.items()}
        self._append({"item": score.item, "values": values, "shown": score.shown})
        self._scores[score.item] = score

    def _append(self, row: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

    def _put_aside(self) -> None:
        aside = (self.path.with_suffix(f".{number}.old") for number in itertools.count(1))
        self.path.rename(next(path for path in aside if not path.exists()))
