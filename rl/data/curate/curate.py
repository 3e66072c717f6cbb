"""From rows as they come to rows worth training on, and a datasheet of them."""

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.config import DataConfig
from rl.config.curate import Curation
from rl.data.curate.row import Row, read_rows
from rl.data.curate.sheet import Lengths, Sheet, SourceCount, StepCount
from rl.data.curate.step import Outcome, Step, taken
from rl.data.curate.steps import NAMES, steps_of
from rl.data.source import content_sha
from rl.policy.files import whole_folder
from rl.refusal import Refusal

SAMPLED = 20
EXAMPLES = 5
WRITTEN: Any = {"encoding": "utf-8", "errors": "replace"}
"""Rows may hold half a character, which JSON can say and no file."""


def curate(asked: Curation) -> None:
    from rl.data.curate.page import as_page

    steps = steps_of(asked.steps)
    sources = {name: read_rows(name, asked.text) for name in dict.fromkeys(asked.rows)}
    rows = [row for of_source in sources.values() for row in of_source]
    before = Lengths.of(rows)
    n_rows = {name: len(of_source) for name, of_source in sources.items()}
    sources.clear()  # what the steps rewrite is not held twice
    print(f"{len(rows):,} rows, {before.words:,} words")
    counts: list[StepCount] = []
    with whole_folder(asked.out, nbytes=2 * sum(len(row.text) for row in rows)) as folder:
        for step in steps:
            rows, count = _through(step, rows)
            print(f"{count.told}: {count.rewritten:,} rewritten, {count.dropped:,} dropped")
            counts.append(count)
        file = folder / "rows.jsonl"
        _write(file, (row.values for row in rows))
        sheet = Sheet(
            name=Path(asked.out).name,
            sha=content_sha(str(file), DataConfig(), flag="--out"),
            columns=asked.text,
            rows=len(rows),
            sources=[_source(name, n, rows) for name, n in n_rows.items()],
            steps=counts,
            before=before,
            after=Lengths.of(rows),
            examples=[row.text for row in _some(rows, EXAMPLES)],
        )
        dropped = ({"step": each.name, **sample} for each in counts for sample in each.samples)
        _write(folder / "dropped.jsonl", dropped)
        for ending, text in (
            ("json", sheet.as_json()),
            ("md", sheet.as_markdown()),
            ("html", as_page(sheet)),
        ):
            (folder / f"datasheet.{ending}").write_text(text, **WRITTEN)
    print(f"{len(rows):,} rows, {sheet.after.words:,} words, content {sheet.sha}\nmade {asked.out}")


def _through(step: Step, rows: Sequence[Row]) -> tuple[Sequence[Row], StepCount]:
    began_s = time.perf_counter()
    outcome = taken(step, rows)
    name = NAMES[type(step)]
    if not outcome.kept:
        first = outcome.dropped[0]
        raise Refusal(
            f"{name} leaves none of {len(rows):,} rows ({first.row.where}: {first.why}). Give it "
            "other settings, or take it out of --steps"
        )
    return outcome.kept, StepCount(
        name=name,
        settings=dataclasses.asdict(step),
        rows=len(rows),
        rewritten=outcome.n_rewritten,
        dropped=len(outcome.dropped),
        seconds=time.perf_counter() - began_s,
        samples=_samples(outcome),
    )


def _samples(outcome: Outcome) -> list[Mapping[str, str]]:
    return [
        {"where": each.row.where, "why": each.why, "text": each.row.text}
        for each in _some(outcome.dropped, SAMPLED)
    ]


def _some(items: Sequence[Any], count: int) -> list[Any]:
    """The same ones each time."""
    return random.Random(0).sample(items, min(count, len(items)))


def _source(name: str, n_rows: int, kept: Iterable[Row]) -> SourceCount:
    mine = [row for row in kept if row.name == name]
    return SourceCount(
        name=name,
        sha=content_sha(name, DataConfig(), flag="rows"),
        rows=n_rows,
        kept=len(mine),
        licences=dict(Counter(str(row.values.get("licence", "not said")) for row in mine)),
    )


def _write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with file.open("w", **WRITTEN) as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
