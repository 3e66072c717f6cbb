"""From a command line to a checked config: the part every experiment's `main()` shares."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NoReturn, TypeVar

import tyro

from judges.client.backends import swapped
from rl.config import RunConfig, TrainingRun, load, to_json, with_preset, with_values
from rl.config.evaluate import EvaluateRun
from rl.config.gspo import GSPORun
from rl.config.sft import SFTRun
from rl.config.shared import Preset
from rl.policy.adapter import with_adapters_lora

if TYPE_CHECKING:
    from rl.run.lifecycle import Stage

C = TypeVar("C", bound=RunConfig)
T = TypeVar("T", bound=TrainingRun)
J = TypeVar("J", GSPORun, EvaluateRun)
PresetName = TypeVar("PresetName")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The same experiment in another size, by a flag of its own: values over the page's."""

    help: str
    values: Preset


@dataclass(frozen=True, kw_only=True)
class Launch(Generic[C, PresetName]):
    config: Annotated[C, tyro.conf.arg(name="")]
    preset: PresetName | None = None
    """Named values, written over the experiment's own; later flags win."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Start from the config of a run: its folder, or its config.json."""
    resume: str | None = None
    """Go on with a run that was cut short, from its folder's last checkpoint."""
    accept_drift: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --resume: go on although settings, data or packages are no longer the same."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the resolved config, what it will take, and stop."""


def stage_of(config: RunConfig) -> "Stage":
    """What trains or measures by such a config."""
    match config:
        case GSPORun():
            from rl.stages.gspo import GSPOStage

            return GSPOStage(config)
        case SFTRun():
            from rl.stages.sft import SFTStage

            return SFTStage(config)
        case EvaluateRun():
            from rl.stages.evaluate import EvaluateStage

            return EvaluateStage(config)
        case _:
            raise AssertionError(config.kind)


def outlook_of(config: RunConfig) -> str:
    """What such a run will take, in sentences; refuses what can be refused so early."""
    match config:
        case GSPORun():
            from rl.run.preflight import preflight

            return preflight(config)
        case SFTRun():
            from rl.sft.outlook import preflight as sft_preflight

            return sft_preflight(config)
        case EvaluateRun():
            from rl.evaluate.outlook import outlook

            return outlook(config)
        case _:
            raise AssertionError(config.kind)


def main(
    experiment: C,
    *,
    prog: str,
    description: str | None,
    stage: Callable[[C], "Stage"] = stage_of,
    variants: Mapping[str, Variant] = MappingProxyType({}),
    args: Sequence[str] | None = None,
    subject: str = "",
) -> NoReturn:
    """Parse, check and run `experiment` with the flags given; each of `variants` is one more.

    `stage` is another than the config's own, `subject` what stood before the flags, for the line
    that starts the same again.
    """
    try:
        given = sys.argv[1:] if args is None else args
        launch = parse(experiment, given, prog=prog, description=description, variants=variants)
        if launch.dry_run:
            print(outlook_of(launch.config), file=sys.stderr)
            print(to_json(launch.config), end="")
            sys.exit(0)
        from rl.run.lifecycle import run

        sys.exit(
            run(
                stage(launch.config),
                experiment=f"{_as_started()} {subject}".strip(),
                resume=Path(launch.resume) if launch.resume else None,
                accept_drift=launch.accept_drift,
            )
        )
    except ValueError as error:
        sys.exit(f"{prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{prog}: interrupted before it began")


def parse(
    experiment: C,
    args: Sequence[str],
    *,
    prog: str,
    description: str | None,
    variants: Mapping[str, Variant] = MappingProxyType({}),
) -> Launch[C, Any]:
    default = experiment
    saved, resumed = _value_of("--from", args), _value_of("--resume", args)
    if saved and resumed:
        raise ValueError("--from starts a new run and --resume goes on with an old one: give one")
    if resumed and not Path(resumed).is_dir():
        raise ValueError(f"--resume {resumed}: no such folder. Give a run's, as in runs/NAME")
    kind = type(experiment)
    if saved:
        default = load(saved, kind)
    elif resumed:
        default = load(resumed, kind, flag="--resume")
    for name, variant in variants.items():
        if f"--{name}" in args:
            default = with_values(default, variant.values)
    if isinstance(default, GSPORun | EvaluateRun):
        default = _with_backend(default, _value_of("--judge.backend", args))
    if preset := _value_of("--preset", args):
        default = with_preset(default, preset)
    if isinstance(default, TrainingRun):
        default = _with_its_lora(default, _value_of("--policy.adapter", args))
    of_kind = _launch_of(kind, variants)
    launch = tyro.cli(
        of_kind,
        default=of_kind(config=default),
        args=args,
        prog=prog,
        description=description,
    )
    if isinstance(launch.config, TrainingRun):
        launch.config.trl_overrides()
    return launch


def _launch_of(kind: type[C], variants: Mapping[str, Variant]) -> Any:
    """The flags of this kind of run and of these variants. Theirs were acted on already."""
    presets: Any = Literal[tuple(kind.presets)]
    flags = [
        (
            name.replace("-", "_"),
            Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(help=variant.help)],
            field(default=False),
        )
        for name, variant in variants.items()
    ]
    base: Any = Launch[kind, presets]
    return make_dataclass("Launch", flags, bases=(base,), frozen=True, kw_only=True)


def _with_its_lora(config: T, adapter: str | None) -> T:
    """An adapter to go on from keeps its own settings."""
    adapter = adapter or config.policy.adapter
    if not adapter:
        return config
    return replace(config, policy=with_adapters_lora(config.policy, adapter))


def _with_backend(config: J, backend: str | None) -> J:
    """Nothing of the backend before it goes along."""
    if not backend or backend == config.judge.backend:
        return config
    return replace(config, judge=swapped(config.judge, backend))


def _as_started() -> str:
    """What follows `python` to start this experiment again."""
    spec = sys.modules["__main__"].__spec__
    return f"-m {spec.name}" if spec else sys.argv[0]


def _value_of(flag: str, args: Sequence[str]) -> str | None:
    """Read before the parser runs, because it decides the parser's defaults."""
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            return args[i + 1]
        if arg.startswith(f"{flag}="):
            return arg.removeprefix(f"{flag}=")
    return None
