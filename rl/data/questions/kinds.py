"""Kinds of questions as they are read from a file: from which sections, and what is wanted."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.data.papers.sections import TYPES
from rl.names import did_you_mean
from rl.refusal import Refusal

SHIPPED = Path(__file__).parent / "kinds.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    name: str
    sections: tuple[str, ...]
    wanted: str
    levels: tuple[str, ...] = ()
    """One of which each answer begins with; none where answers are free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    by_name: Mapping[str, Kind]
    task: str
    untrusted: str
    reply: str

    @property
    def sha(self) -> str:
        words = (self.by_name, self.task, self.untrusted, self.reply)
        return hashlib.sha256(repr(words).encode()).hexdigest()[:16]


def load_kinds(path: str | None = None) -> Kinds:
    """The shipped ones where no file is given."""
    where = f"--kinds {path}"
    try:
        table = tomllib.loads((Path(path) if path else SHIPPED).read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(f"{where} cannot be read ({error.strerror}). Name a TOML file") from None
    except ValueError as error:
        raise Refusal(f"{where} is not TOML ({error})") from None
    words = {name: _text(table, name, where) for name in ("task", "untrusted", "reply")}
    kinds = [_kind(each, f"{where}, [[kind]]") for each in table.get("kind", [])]
    if not kinds or len({kind.name for kind in kinds}) < len(kinds):
        raise Refusal(f"{where}: write [[kind]] with name, sections and wanted, each name once")
    return Kinds(by_name={kind.name: kind for kind in kinds}, **words)


def _kind(table: Mapping[str, Any], where: str) -> Kind:
    levels = _texts(table, "levels", where) if "levels" in table else ()
    sections = _texts(table, "sections", where)
    for type_ in sections:
        if type_ not in TYPES:
            raise Refusal(
                f"{where}: there are no sections of type {type_!r}{did_you_mean(type_, TYPES)}. "
                f"Known: {', '.join(TYPES)}"
            )
    wanted = _text(table, "wanted", where).replace("{levels}", ", ".join(levels))
    return Kind(name=_text(table, "name", where), sections=sections, wanted=wanted, levels=levels)


def _text(table: Mapping[str, Any], name: str, where: str) -> str:
    if not isinstance(table.get(name), str) or not table[name].strip():
        raise Refusal(f"{where}: `{name}` must be there and be text")
    return table[name].strip()


def _texts(table: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    given = table.get(name)
    if not isinstance(given, list) or not given or not all(isinstance(t, str) for t in given):
        raise Refusal(f"{where}: `{name}` must be a list of texts")
    return tuple(given)
