"""What a curation is: rows, the steps that they go through, and where what is left is put."""

from dataclasses import dataclass
from typing import Annotated

import tyro

STEPS = "normalise,length,repetition,exact_duplicates,near_duplicates"


@dataclass(frozen=True, kw_only=True)
class Curation:
    """Rows worth training on, out of rows as they come."""

    rows: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="ROWS ...")]]
    """JSONL or Parquet files, shipped sets or data sets of the hub."""
    out: str
    """Folder that is made: rows.jsonl, samples of what was dropped, the datasheet."""
    steps: str = STEPS
    """In their order, with commas, each NAME or NAME=VALUE: normalise, latex, personal_data=mask,
    language=en+zh, length=5, repetition=0.3, exact_duplicates, near_duplicates=0.7,
    decontaminate=FILE+FILE; or a TOML file, a table a step."""
    text: tuple[str, ...] = ("text",)
    """Columns that are a row's text."""

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("rows is empty: name a file, as in rows.jsonl")
        if not self.text:
            raise ValueError("text is empty: name a column, as in --text question answer")
