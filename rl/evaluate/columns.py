"""Whom a table is about: models, runs and adapters, by what a person types."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges.client.ledger import without_secrets
from rl.config import PolicyConfig, TrainingRun
from rl.config.evaluate import EvaluateRun
from rl.config.kinds import TRAININGS
from rl.evaluate.served import Served, served_at
from rl.names import did_you_mean
from rl.policy.adapter import SETTINGS, adapter_folder, with_adapters_lora
from rl.policy.models import EMBEDDED
from rl.refusal import Refusal
from rl.run.folder import settings_as_learnt

RANDOM = "random"
ORACLE = "oracle"
CONSTANT = "constant:"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A policy to be measured, and how it was trained to be asked."""

    label: str
    policy: PolicyConfig
    served: Served | None = None
    """Who is asked in the policy's place."""
    has_random_weights: bool = False
    """A control: what weights give that never learnt."""
    system_prompt: str = ""
    thinking: bool | None = None
    trained_in: Path | None = None
    """The folder of the run that trained it."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """Scores that a task makes up, to read its table against."""

    label: str
    name: str


def columns_of(config: EvaluateRun) -> list[Column | Control]:
    """As they stand in the table. A run alone is held against what it began with."""
    named = [_label_and_spec(entry) for entry in config.columns]
    if not named:
        raise Refusal(
            "whom to measure? Name models or the folders of runs, as in: evaluate smollm2-135m "
            "runs/NAME --tasks ..."
        )
    columns: list[Column | Control] = []
    policies = [spec for _, spec in named if not _is_control(spec)]
    if len(policies) == 1 and (run := run_folder(policies[0])):
        columns.append(_start_of(run))
    for label, spec in named:
        columns.append(_column(spec, label, columns, config))
    _refuse_same_labels(columns)
    return [_as_asked(column, config) for column in columns]


def policies_of(columns: Sequence[Column | Control]) -> list[Column]:
    return [column for column in columns if isinstance(column, Column)]


def run_folder(spec: str) -> Path | None:
    """The folder, if a training left it."""
    folder = Path(spec).expanduser()
    return folder if _kind(folder) in TRAININGS else None


def _label_and_spec(entry: str) -> tuple[str | None, str]:
    label, equals, spec = entry.partition("=")
    if not equals or Path(entry).expanduser().exists():
        return None, entry
    if not label or not spec or "/" in label or label.startswith("."):
        raise Refusal(f"column {entry}: write NAME=WHOM, as in tuned=runs/NAME")
    return label, spec


def _column(
    spec: str, label: str | None, before: Sequence[Column | Control], config: EvaluateRun
) -> Column | Control:
    if _is_control(spec) and spec != RANDOM:
        return Control(label=label or spec.replace(":", "-"), name=spec)
    if spec == RANDOM:
        return _random(label, before)
    if spec.startswith(("http://", "https://")):
        return _of_server(spec, label)
    folder = Path(spec).expanduser()
    if run := run_folder(spec):
        return _of_run(run, label)
    if (folder / SETTINGS).is_file():
        return _of_adapter(folder, label)
    if _is_model(spec, folder):
        return Column(label=label or folder.name, policy=PolicyConfig(model=spec))
    if folder.is_dir():
        raise Refusal(f"column {spec}: that folder holds no run, no adapter and no model")
    runs = [str(path.parent) for path in Path(config.out).glob("*/config.json")]
    raise Refusal(
        f"column {spec}: no such run, adapter or model"
        f"{did_you_mean(spec, [*EMBEDDED, ORACLE, RANDOM, *runs])}"
    )


def _of_server(spec: str, label: str | None) -> Column:
    """What it is to be asked with is read where the server has it from."""
    url, _, model = spec.partition("#")
    if url != (address := without_secrets(url)):
        raise Refusal(
            f"column {address}: give the address alone. It is written into the run's record, and "
            "no key is sent to a server that is measured"
        )
    served = served_at(url, model or None)
    own = Path(served.model).name
    return Column(label=label or own, policy=PolicyConfig(model=served.weights), served=served)


def _is_control(spec: str) -> bool:
    return spec in (ORACLE, RANDOM) or spec.startswith(CONSTANT)


def _is_model(spec: str, folder: Path) -> bool:
    """Embedded, in a folder, or by its id on the hub."""
    if folder.is_dir():
        return (folder / "config.json").is_file()
    return spec in EMBEDDED or (spec.count("/") == 1 and spec[0] not in "./~" and spec[-1] != "/")


def _of_run(run: Path, label: str | None, adapter: Path | None = None) -> Column:
    """What it trained. How it is asked goes along."""
    settings = settings_of(run)
    if settings.policy.learns == "weights":
        policy = dataclasses.replace(settings.policy, learns="adapter", model=str(run))
    else:
        folder = adapter or adapter_folder(str(run))
        policy = dataclasses.replace(settings.policy, adapter=str(folder))
    column = _asked_as_in(settings, label or run.resolve().name, policy)
    return dataclasses.replace(column, trained_in=run)


def _start_of(run: Path) -> Column:
    settings = settings_of(run)
    began = settings.policy.adapter
    label = Path(began or settings.policy.model).resolve().name
    policy = dataclasses.replace(settings.policy, learns="adapter")
    return _asked_as_in(settings, label, policy)


def _of_adapter(folder: Path, label: str | None) -> Column:
    """Of a run, as that run asks it. One from elsewhere says what it belongs to."""
    place = folder.resolve()
    for above in (place.parent, place.parent.parent):
        if run_folder(str(above)):
            is_last = place.parent == above
            name = above.name if is_last else f"{above.name}-{place.name}"
            return _of_run(above, label or name, adapter=folder)
    base = _read_object(folder / "base.json").get("source")
    base = base or _read_object(folder / SETTINGS).get("base_model_name_or_path")
    if not base:
        raise Refusal(
            f"column {folder}: an adapter that does not say what it belongs to. Write its base "
            f"into {folder / SETTINGS}, as base_model_name_or_path"
        )
    policy = with_adapters_lora(PolicyConfig(model=base, adapter=str(folder)), str(folder))
    return Column(label=label or place.name, policy=policy)


def _random(label: str | None, before: Sequence[Column | Control]) -> Column:
    like = policies_of(before)
    if not like:
        raise Refusal(f"column {RANDOM}: of what shape? Name the model before it")
    policy = PolicyConfig(model=like[0].policy.model, chat_template=like[0].policy.chat_template)
    first = dataclasses.replace(like[0], label=label or RANDOM, policy=policy, served=None)
    return dataclasses.replace(first, has_random_weights=True, trained_in=None)


def _asked_as_in(settings: TrainingRun, label: str, policy: PolicyConfig) -> Column:
    if policy.adapter:
        policy = with_adapters_lora(policy, policy.adapter)
    return Column(
        label=label,
        policy=policy,
        system_prompt=settings.data.system_prompt,
        thinking=settings.data.thinking,
    )


def _as_asked(column: Column | Control, config: EvaluateRun) -> Column | Control:
    """With what the command line says for all."""
    if isinstance(column, Control):
        return column
    policy = dataclasses.replace(column.policy, dtype=config.dtype, gradient_checkpointing=False)
    column = dataclasses.replace(column, policy=policy)
    if config.system_prompt is not None:
        column = dataclasses.replace(column, system_prompt=config.system_prompt)
    if config.thinking is not None:
        column = dataclasses.replace(column, thinking=config.thinking)
    return column


def _refuse_same_labels(columns: Sequence[Column | Control]) -> None:
    label, count = Counter(column.label for column in columns).most_common(1)[0]
    if count > 1:
        raise Refusal(f"{count} columns are called {label}. Name them, as in mine={label}")


def settings_of(run: Path) -> TrainingRun:
    return settings_as_learnt(run, _kind(run), flag="column")


def _kind(folder: Path) -> str:
    return str(_read_object(folder / "config.json").get("kind"))


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
