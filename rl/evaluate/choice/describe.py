"""What is known of each set of choice questions: where it lies, how it reads, how it is asked."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from rl.names import did_you_mean
from rl.refusal import Refusal

FILE = Path(__file__).with_name("tasks.toml")


@dataclass(frozen=True, kw_only=True)
class Description:
    name: str
    hub: str
    split: str
    licence: str
    subset: str | None = None
    language: Literal["en", "zh"] = "en"
    form: Literal["letters", "texts", "blank"] = "letters"
    columns: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    preface: str = ""
    text: str = ""
    metric: Literal["acc", "acc_norm"] = "acc"

    @property
    def needs_context(self) -> bool:
        return "context" in self.text


def tasks_called(name: str) -> list[Description]:
    """The one of that name, or all the subjects of a set that has some."""
    known = _descriptions()
    if name in known:
        return [known[name]]
    subjects = [each for each in known.values() if each.name.startswith(f"{name}_")]
    if not subjects or name not in _groups():
        raise Refusal(
            f"--tasks {name}: no choice questions of that name"
            f"{did_you_mean(name, [*known, *_groups()])}"
        )
    return subjects


def choice_names() -> list[str]:
    """Everything that `tasks_called` answers to."""
    return [*_descriptions(), *_groups()]


@cache
def _tables() -> dict[str, dict[str, Any]]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


@cache
def _groups() -> list[str]:
    return [name for name, table in _tables().items() if "subjects" in table]


@cache
def _descriptions() -> dict[str, Description]:
    found: dict[str, Description] = {}
    for name, table in _tables().items():
        shared = {key: value for key, value in table.items() if key != "subjects"}
        shared["options"] = tuple(shared.get("options", ()))
        if "subjects" not in table:
            found[name] = Description(name=name, **shared)
        for subset, subject in table.get("subjects", {}).items():
            preface = table["preface"].replace("{subject}", subject)
            own = shared | {"name": f"{name}_{subset}", "subset": subset, "preface": preface}
            found[own["name"]] = Description(**own)
    return found
