"""What a set of rows is and how it came to be, in figures and as Markdown."""

import bisect
import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl.data.curate.row import Row
from rl.data.words import words

BINS = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
"""Longest texts of each bin of lengths, in words."""
SHOWN_CHARS = 400


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """In words, where a character of a script that writes no spaces is one."""

    words: int
    median: float
    rows_up_to: Mapping[str, int]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "Lengths":
        lengths = [len(words(row.text)) for row in rows]
        names = [*(f"up to {top:,}" for top in BINS), "more"]
        counts = Counter(bisect.bisect_left(BINS, length) for length in lengths)
        return cls(
            words=sum(lengths),
            median=statistics.median(lengths),
            rows_up_to={name: counts[place] for place, name in enumerate(names)},
        )


@dataclass(frozen=True, kw_only=True)
class SourceCount:
    name: str
    sha: str
    rows: int
    kept: int
    licences: Mapping[str, int]
    """Of the rows that are left, by what their column `licence` says."""


@dataclass(frozen=True, kw_only=True)
class StepCount:
    name: str
    settings: Mapping[str, Any]
    rows: int
    rewritten: int
    dropped: int
    seconds: float
    samples: Sequence[Mapping[str, str]]
    """Of what was dropped: where it stood, why, and its text."""

    @property
    def told(self) -> str:
        settings = ", ".join(f"{name} {_said(value)}" for name, value in self.settings.items())
        return f"{self.name} ({settings})" if settings else self.name


@dataclass(frozen=True, kw_only=True)
class Sheet:
    name: str
    sha: str
    """Of rows.jsonl, as a run that learns from it records it."""
    columns: Sequence[str]
    rows: int
    sources: Sequence[SourceCount]
    steps: Sequence[StepCount]
    before: Lengths
    after: Lengths
    examples: Sequence[str]

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    def as_markdown(self) -> str:
        licences = Counter[str]()
        for source in self.sources:
            licences.update(source.licences)
        return "\n\n".join(
            [
                f"# {self.name}",
                f"{self.rows:,} rows, {self.after.words:,} words in "
                f"{', '.join(self.columns)}; content {self.sha}.",
                "## Sources",
                _table(
                    ("source", "content", "rows", "kept", "licences"),
                    [
                        (each.name, each.sha, each.rows, each.kept, counted(each.licences))
                        for each in self.sources
                    ],
                ),
                f"Licences, as the rows say them: {counted(licences)}.",
                "## Steps",
                _table(
                    ("step", "rows", "rewritten", "dropped", "share", "seconds"),
                    [
                        (
                            *(each.told, each.rows, each.rewritten, each.dropped),
                            *(f"{each.dropped / each.rows:.1%}", f"{each.seconds:.1f}"),
                        )
                        for each in self.steps
                    ],
                ),
                "## Lengths, in words",
                _table(
                    ("words", "rows before", "rows after"),
                    [
                        (name, count, self.after.rows_up_to[name])
                        for name, count in self.before.rows_up_to.items()
                    ],
                ),
                f"The median was {self.before.median:g} and is {self.after.median:g}.",
                "## Examples",
                *(_quoted(text) for text in self.examples),
                "## What was dropped",
                *(
                    f"**{step.name}**, {each['where']}: {each['why']}\n\n{_quoted(each['text'])}"
                    for step in self.steps
                    for each in step.samples[:2]
                ),
            ]
        )


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in sorted(counts.items()))


def _said(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    said = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *said]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _quoted(text: str) -> str:
    return (
        "> " + text[:SHOWN_CHARS].replace("\n", "\n> ") + ("..." if len(text) > SHOWN_CHARS else "")
    )
