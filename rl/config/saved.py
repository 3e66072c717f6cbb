"""A config written down beside its run, read back, and changed by a preset."""

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from rl.config.shared import Preset, RunConfig
from rl.names import did_you_mean

C = TypeVar("C", bound=RunConfig)


def with_preset(config: C, name: str) -> C:
    """The config with the preset's values written over its own."""
    if name not in config.presets:
        raise ValueError(f"preset {name!r} is not known{did_you_mean(name, config.presets)}")
    return with_values(config, config.presets[name])


def with_values(config: C, values: Preset) -> C:
    """The config with these written over its own, section by section; `run` is the run's own."""
    sections = {
        section: dataclasses.replace(getattr(config, section), **changes)
        for section, changes in values.items()
        if section != "run"
    }
    return dataclasses.replace(config, **sections, **values.get("run", {}))


def to_json(config: RunConfig) -> str:
    return json.dumps(config.recorded(), indent=2, ensure_ascii=False) + "\n"


def load(path: str | Path, kind: type[C], *, flag: str = "--from") -> C:
    """A config that `to_json` wrote, from the run's folder or the file itself.

    `flag` is the one that named it.
    """
    path = Path(path)
    file = path / "config.json" if path.is_dir() else path
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{flag} {path}: no such file. Give a run's folder or its config.json"
        ) from None
    except ValueError as error:
        raise ValueError(f"{flag} {path}: not JSON ({error})") from None
    settings = _mapping(raw, "config")
    written_by = settings.pop("kind", None)
    if written_by != kind.kind:
        raise ValueError(
            f"{flag} {path}: the config of a run of kind {written_by}, and this experiment is of "
            f"kind {kind.kind}. Give it to the experiment that made it, or name a {kind.kind} run"
        )
    return _build(kind, settings, "")


def _build(kind: Any, raw: Any, prefix: str) -> Any:
    declared = get_type_hints(kind)
    hints = {field.name: declared[field.name] for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for name, value in _mapping(raw, prefix).items():
        if name not in hints:
            raise ValueError(f"{prefix}{name} is not a setting{did_you_mean(name, hints)}")
        hint = hints[name]
        if dataclasses.is_dataclass(hint):
            value = _build(hint, value, f"{prefix}{name}.")
        elif isinstance(value, list):
            value = tuple(cast(list[Any], value))
        values[name] = value
    return kind(**values)


def _mapping(raw: Any, name: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ValueError(f"{name}: a mapping was expected, not {raw!r}")
    return dict(cast(dict[str, Any], raw))
