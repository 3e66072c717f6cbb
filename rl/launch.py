"""From a command line to a checked config: the part every experiment's `main()` shares."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import tyro

from judges.client.backends import swapped
from rl.config import RunConfig, load, to_json, with_preset
from rl.trl_names import parse_trl_overrides

if TYPE_CHECKING:
    from rl.run.lifecycle import Stage

Config = Annotated[RunConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True, kw_only=True)
class Launch:
    config: Config
    preset: Literal["paper", "seed"] | None = None
    """Named values, written over the experiment's own; later flags win."""
    from_: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Start from the config of a run: its folder, or its config.json."""
    resume: str | None = None
    """Go on with a run that was cut short, from its folder's last checkpoint."""
    accept_drift: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --resume: go on although settings, data or packages are no longer the same."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the resolved config, what it will take, and stop."""


def gspo(config: RunConfig) -> "Stage":
    from rl.stages.gspo import GSPOStage

    return GSPOStage(config)


def main(
    experiment: RunConfig,
    *,
    prog: str,
    description: str,
    stage: Callable[[RunConfig], "Stage"] = gspo,
    args: Sequence[str] | None = None,
    subject: str = "",
) -> NoReturn:
    """Parse, check and run `experiment` with the flags given.

    `subject` is what stood before the flags, for the line that starts the same again.
    """
    try:
        given = sys.argv[1:] if args is None else args
        launch = parse(experiment, given, prog=prog, description=description)
        if launch.dry_run:
            from rl.run.preflight import preflight

            print(preflight(launch.config), file=sys.stderr)
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


def parse(experiment: RunConfig, args: Sequence[str], *, prog: str, description: str) -> Launch:
    default = experiment
    saved, resumed = _value_of("--from", args), _value_of("--resume", args)
    if saved and resumed:
        raise ValueError("--from starts a new run and --resume goes on with an old one: give one")
    if resumed and not Path(resumed).is_dir():
        raise ValueError(f"--resume {resumed}: no such folder. Give a run's, as in runs/NAME")
    if folder := saved or resumed:
        default = load(folder)
    backend = _value_of("--judge.backend", args)
    if backend and backend != default.judge.backend:
        default = replace(default, judge=swapped(default.judge, backend))
    if preset := _value_of("--preset", args):
        default = with_preset(default, preset)
    launch = tyro.cli(
        Launch,
        default=Launch(config=default),
        args=args,
        prog=prog,
        description=description,
    )
    parse_trl_overrides(launch.config.trl)
    return launch


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
