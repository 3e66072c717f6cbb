"""Axes and wording as they are read from a file: what is rated, and how a judge is told of it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

SHIPPED = Path(__file__).parent / "axes.toml"
LOWEST, HIGHEST = 1, 5
WORDS = ("task", "untrusted", "rationale", "reply")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    meanings: Mapping[str, Mapping[str, str]]
    """Of each axis, by language."""
    words: Mapping[str, Mapping[str, str]]
    """Of the rest of the prompt, by language."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.meanings)

    @property
    def sha(self) -> str:
        return hashlib.sha256(repr((self.meanings, self.words)).encode()).hexdigest()[:16]

    def meaning(self, name: str, lang: str) -> str:
        return self.meanings[name][lang if lang in self.words else "en"]

    def words_in(self, lang: str) -> Mapping[str, str]:
        return self.words.get(lang, self.words["en"])


def load_axes(path: str | None = None) -> Axes:
    """The shipped ones where no file is given."""
    file = Path(path) if path else SHIPPED
    where = f"--axes {path}"
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{where} cannot be read ({error.strerror}). Name a TOML file") from error
    except ValueError as error:
        raise ValueError(f"{where} is not TOML ({error})") from error
    given: object = tables.pop("axis", None)
    if not isinstance(given, list) or not given:
        raise ValueError(f"{where} has no axis: write [[axis]] with name and en, once for each")
    words = {lang: _texts(table, WORDS, f"{where}, [{lang}]") for lang, table in tables.items()}
    if "en" not in words:
        raise ValueError(f"{where} has no [en], which other languages fall back to")
    meanings: dict[str, Mapping[str, str]] = {}
    for axis in cast(list[object], given):
        texts = _texts(axis, ("name", *words), f"{where}, [[axis]]")
        name = texts.pop("name")
        if not _NAME.fullmatch(name) or name in meanings or name == "rationale":
            raise ValueError(
                f"{where}: an axis is called {name!r}. Names are small letters, digits and _, each "
                "another, and none is rationale"
            )
        meanings[name] = texts
    return Axes(meanings=meanings, words=words)


def _texts(table: object, names: tuple[str, ...], where: str) -> dict[str, str]:
    texts = cast(dict[str, object], table) if isinstance(table, dict) else {}
    for name in names:
        if not isinstance(texts.get(name), str):
            raise ValueError(f"{where}: `{name}` must be there and be text")
    return {name: cast(str, texts[name]).strip() for name in names}
