"""JSON lines: a row ends with a newline and with nothing else, whatever a text in it holds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")
Row = dict[str, Any]


def read_jsonl(path: str | Path, of: Callable[[Row], T], *, wanted: str) -> list[T]:
    """`of` makes what is wanted of a row; a ValueError of it gets the file and the line."""
    rows: list[T] = []
    for number, line in enumerate(_text(Path(path), wanted).split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(of(_row(line)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return rows


def as_line(row: Row) -> str:
    """Half a character, which no encoding has, is written as the escape that it was read from."""
    text = json.dumps(row, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def text_of(row: Row, name: str, hint: str = "") -> str:
    if not isinstance(row.get(name), str):
        raise ValueError(f"`{name}` must be there and be text{hint}")
    return row[name]


def texts_of(row: Row, name: str) -> tuple[str, ...]:
    """None if it is missing or null."""
    given: object = row.get(name) or []
    texts = cast(list[object], given) if isinstance(given, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"`{name}` is {given!r}: it must be a list of texts")
    return tuple(cast(list[str], texts))


def _text(path: Path, wanted: str) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: no such file. Give {wanted}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}). Save it as UTF-8") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error


def _row(line: str) -> Row:
    try:
        row: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{line.strip()[:60]} is no JSON object")
    return cast(Row, row)
