"""A row as the steps see it: its columns of text, and where it came from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rl.config import DataConfig
from rl.data.source import Record, Source, read_source
from rl.names import did_you_mean
from rl.refusal import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    """Of the source, as it was given."""
    where: str
    values: Mapping[str, Any]
    columns: Sequence[str]

    @property
    def text(self) -> str:
        return "\n".join(self.values[column] for column in self.columns)

    def rewritten(self, rewrite: Callable[[str], str]) -> "Row":
        """Itself where nothing changes."""
        texts = {column: rewrite(self.values[column]) for column in self.columns}
        if all(self.values[column] == text for column, text in texts.items()):
            return self
        return replace(self, values={**self.values, **texts})


def read_rows(name: str, columns: Sequence[str]) -> list[Row]:
    source = read_source(name, DataConfig(), flag="rows")
    if not source.records:
        raise Refusal(
            f"{name}: there are no rows in it. Give a file with some, a JSON object a line"
        )
    return [_row(name, source, record, columns) for record in source.records]


def _row(name: str, source: Source, record: Record, columns: Sequence[str]) -> Row:
    where = source.where(record.line)
    if record.fault:
        raise Refusal(f"{where}: {record.fault}. Mend the line or take it out")
    texts = [key for key, value in record.values.items() if isinstance(value, str)]
    for column in columns:
        if column not in record.values:
            hint = did_you_mean(column, texts)
            raise Refusal(f"{where}: {column!r} is missing{hint}. --text names the columns to read")
        if column not in texts:
            raise Refusal(f"{where}: {column!r} is {record.values[column]!r}, which is no text")
    return Row(name=name, where=where, values=record.values, columns=columns)
