"""Which steps, in which order, with which settings: data, from a flag or a file.

normalise,language=en+zh,near_duplicates=0.8      a value is the first setting's of its step

[near_duplicates]                                 a TOML file has all of them, a table a step
threshold = 0.8
shingle_words = 5
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.data.curate.decontaminate import Decontaminate
from rl.data.curate.duplicates import ExactDuplicates, NearDuplicates
from rl.data.curate.filters import Language, Length, Repetition
from rl.data.curate.rewriting import Latex, Normalise, PersonalData
from rl.data.curate.step import Step
from rl.names import did_you_mean
from rl.refusal import Refusal

STEPS: Mapping[str, type[Step]] = {
    "normalise": Normalise,
    "latex": Latex,
    "personal_data": PersonalData,
    "language": Language,
    "length": Length,
    "repetition": Repetition,
    "exact_duplicates": ExactDuplicates,
    "near_duplicates": NearDuplicates,
    "decontaminate": Decontaminate,
}
NAMES = {kind: name for name, kind in STEPS.items()}


def steps_of(said: str) -> list[Step]:
    if said.endswith(".toml"):
        return [_step(f"{said}, [{name}]", name, table) for name, table in _tables(said).items()]
    return [_of_word(word.strip()) for word in said.split(",")]


def _of_word(word: str) -> Step:
    name, equals, value = word.partition("=")
    kind = _kind("--steps", name)
    if not equals:
        return kind()
    settings = dataclasses.fields(kind)
    if not settings:
        raise Refusal(f"--steps {word}: {name} has no settings. Type {name} alone")
    return _step("--steps", name, {settings[0].name: _read(word, settings[0].default, value)})


def _read(word: str, default: Any, value: str) -> Any:
    try:
        return tuple(value.split("+")) if isinstance(default, tuple) else type(default)(value)
    except ValueError:
        raise Refusal(f"--steps {word}: {value!r} is no number, and {default} is one") from None


def _tables(said: str) -> dict[str, Any]:
    try:
        tables = tomllib.loads(Path(said).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal(f"--steps {said}: no steps can be read there ({error})") from None
    if not tables:
        raise Refusal(f"--steps {said}: there is no step in it. Write one, as in [normalise]")
    return tables


def _step(where: str, name: str, table: Any) -> Step:
    kind = _kind(where, name)
    if not isinstance(table, dict):
        raise Refusal(f"{where}: a step is a table, as in [{name}], with its settings under it")
    known = {field.name: field.default for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for setting, value in table.items():
        if setting not in known:
            raise Refusal(f"{where}: {name} has no {setting!r}{did_you_mean(setting, known)}")
        value = tuple(value) if isinstance(value, list) else value
        wanted = type(known[setting])
        if not isinstance(value, (int, float) if wanted is float else wanted):
            raise Refusal(f"{where}: {setting} is {value!r}, and {known[setting]!r} is of its kind")
        values[setting] = value
    return kind(**values)


def _kind(where: str, name: str) -> type[Step]:
    if name not in STEPS:
        raise Refusal(f"{where}: {name!r} is not a step{did_you_mean(name, STEPS)}")
    return STEPS[name]
