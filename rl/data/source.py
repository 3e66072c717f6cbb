"""Records as they lie somewhere: a shipped set, a JSONL or Parquet file, a data set of the hub.

What is wrong with one of them is said of that one: whoever reads them decides whether to go on.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rl.config import DataConfig
from rl.names import did_you_mean
from rl.refusal import Refusal

SHIPPED = Path(__file__).parents[2] / "experiments" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line. `fault` says why it has no values."""

    line: int
    values: Mapping[str, Any]
    fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    name: str
    stem: str
    """What its rows are called by, with their number."""
    records: list[Record]

    def where(self, line: int) -> str:
        return f"{self.name}, line {line}"


def read_source(name: str, config: DataConfig, *, flag: str) -> Source:
    """All of it, its columns named as `data.fields` says. `flag` is the one that named it."""
    if is_hub_id(name):
        records = _from_hub(name, config, flag)
        source = Source(name=_of_hub(name, config), stem=name.rpartition("/")[2], records=records)
    else:
        path = data_file(name, flag)
        _refuse_hub_settings(config, name)
        read = _from_parquet if path.suffix == ".parquet" else _from_jsonl
        source = Source(name=str(path), stem=path.stem, records=read(path))
    return _renamed(source, config)


def is_hub_id(name: str) -> bool:
    """`owner/name` that is no file here."""
    is_path = name.startswith((".", "/", "~")) or Path(name).suffix in (".jsonl", ".parquet")
    return name.count("/") == 1 and not is_path and not Path(name).exists()


def is_plain_jsonl(config: DataConfig) -> bool:
    """The training rows lie in a file that others read as it is."""
    is_parquet = config.train.endswith(".parquet")
    return not (config.fields or is_parquet or is_hub_id(config.train))


def data_file(name: str, flag: str) -> Path:
    """A shipped set by its name, or a file of the user's."""
    shipped = {path.stem: path for path in SHIPPED.glob("*.jsonl")}
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise Refusal(f"{flag} {name}: no such file{did_you_mean(name, shipped)}")
    return path


def _from_jsonl(path: Path) -> list[Record]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not UTF-8 text ({error.reason})") from None
    return [_parsed(n, line) for n, line in enumerate(lines, 1) if line.strip()]


def _parsed(n: int, line: str) -> Record:
    try:
        values = json.loads(line)
    except ValueError as error:
        return Record(line=n, values={}, fault=f"not JSON ({error})")
    if not isinstance(values, dict):
        return Record(line=n, values={}, fault="not a JSON object")
    return Record(line=n, values=values)


def _from_parquet(path: Path) -> list[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise Refusal(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
    return _numbered(table.to_pylist())


def _from_hub(name: str, config: DataConfig, flag: str) -> list[Record]:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    datasets.disable_progress_bars()
    try:
        rows = datasets.load_dataset(name, config.subset, split=config.split or "train")
    except (OSError, ValueError, HfHubHTTPError) as error:
        said = str(error).strip().splitlines()[0]
        settings = ", at --data.subset and --data.split" if flag.startswith("--data") else ""
        raise Refusal(
            f"{flag} {_of_hub(name, config)} cannot be had from the hub ({said}). Look at its "
            f"name{settings} and at the network, or give a file"
        ) from None
    return _numbered(rows)


def _of_hub(name: str, config: DataConfig) -> str:
    return " ".join([name, *filter(None, [config.subset, config.split])])


def _refuse_hub_settings(config: DataConfig, name: str) -> None:
    for setting in ("subset", "split"):
        if value := getattr(config, setting):
            raise Refusal(
                f"data.{setting} is {value} and {name} is a file, which has no {setting}s. Leave "
                "it out, or name a data set of the hub: owner/name"
            )


def _numbered(rows: Iterable[Mapping[str, Any]]) -> list[Record]:
    return [Record(line=n, values=values) for n, values in enumerate(rows, 1)]


def _renamed(source: Source, config: DataConfig) -> Source:
    fields = config.column_of()
    if not fields:
        return source
    columns = {column for record in source.records for column in record.values}
    for ours, column in fields.items():
        if columns and column not in columns:
            raise Refusal(
                f"data.fields {ours}={column}: {source.name} has no such column"
                f"{did_you_mean(column, columns)}"
            )
    theirs = set(fields.values())
    records = [
        Record(
            line=record.line,
            values={name: value for name, value in record.values.items() if name not in theirs}
            | {ours: record.values.get(column) for ours, column in fields.items()},
            fault=record.fault,
        )
        for record in source.records
    ]
    return replace(source, records=records)


def content_sha(name: str, config: DataConfig, *, flag: str) -> str:
    """Of what stands behind a name today."""
    if is_hub_id(name):
        values = [record.values for record in _from_hub(name, config, flag)]
        content = json.dumps(values, default=str).encode()
    else:
        content = data_file(name, flag).read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]
