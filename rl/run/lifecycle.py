"""One run from config to report, whatever is trained or measured in it.

A stage brings what is particular. Here is what is the same for all: its folder is made or opened
again, W&B and the terminal are told, whatever it opened is closed, and however it ends there is a
summary and a report.
"""

import contextlib
import dataclasses
import errno
import os
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from judges.client.budget import BudgetExceeded
from judges.client.ledger import LedgerError
from rl.config import RunConfig
from rl.quiet import quiet_libraries
from rl.refusal import Refusal
from rl.report import report_figures, write_report
from rl.rollout.engine import EngineError
from rl.run.checkpoint import Checkpoint
from rl.run.drift import drift
from rl.run.folder import Run, RunLog, read_run
from rl.run.progress import Progress, print_summary
from rl.run.ranks import FirstIsGone, is_first, say
from rl.run.summary import summarise
from rl.run.tracking import Tracker

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
# What a disk answers that takes no more.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
# What torch and safetensors make of that.
_NO_ROOM_SAID = ("PytorchStreamWriter failed", "unexpected pos", "(os error 28)", "(os error 27)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenRun:
    """What a stage is given to work with."""

    log: RunLog
    tracker: Tracker
    progress: Progress
    checkpoint: Checkpoint | None
    began_s: float
    exits: contextlib.ExitStack
    """Closed after the stage, however it ended, and deaf to a second Ctrl-C."""
    figures: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    """For the summary, also of a run that is cut short."""

    def alert(self, title: str, text: str) -> None:
        self.progress.note(text)
        self.tracker.alert(title, text)

    def say_reward(self, what: str, reward: float | None) -> None:
        if reward is not None:
            self.progress.close()
            say(f"{what}: {reward:+.2f}")


class Stage(Protocol):
    """A kind of training or measuring."""

    config: RunConfig

    @property
    def length(self) -> int:
        """How many generations or steps a finished run has."""
        ...

    def made_with(self) -> Mapping[str, str]:
        """After the check: what stands behind the names in the settings, and what computes."""
        ...

    def check(self) -> None:
        """Refuse what can be refused before there is a folder, and say what lies ahead."""
        ...

    def run(self, run: OpenRun) -> str | None:
        """In the first process. Returns why it stopped before its end, if it did."""
        ...

    def follow(self) -> None:
        """In every other process of the same run."""
        ...


def run(
    stage: Stage, experiment: str, *, resume: Path | None = None, accept_drift: bool = False
) -> int:
    """Exit status: 0 when the run came to its end, 1 when it stopped before or refused a figure.

    `resume` is the folder of a run to go on with; `accept_drift` lets it go on with other settings.
    """
    # read by OpenMP when torch loads it: the trainer must not spin while the sampler works
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    quiet_libraries()
    with _interruptible():
        began_s = time.perf_counter()
        if not is_first():
            return _follow(stage)
        stage.check()
        record = read_run(resume) if resume else None
        log = RunLog(resume, stage.config.unit) if resume else _created(stage.config)
        with log.locked():
            checkpoint = _gone_on_with(log, record, stage, accept_drift) if record else None
            log.config(stage.config.recorded())
            log.made_with(stage.made_with())
            return _lead(stage, log, checkpoint, began_s, experiment)


def _follow(stage: Stage) -> int:
    try:
        stage.check()
        stage.follow()
    except (KeyboardInterrupt, FirstIsGone):
        return 1
    return 0


def _created(config: RunConfig) -> RunLog:
    log = RunLog.create(Path(config.out), config.name, config.unit)
    say(f"run folder {log.folder}")
    return log


def _gone_on_with(log: RunLog, record: Run, stage: Stage, accept_drift: bool) -> Checkpoint | None:
    """The folder as it was at its last whole checkpoint, or at its start where there is none."""
    folder = log.folder
    settings, facts = stage.config.recorded(), stage.made_with()
    changes = drift(record.config | record.made_with, settings | facts)
    if changes and not accept_drift:
        raise Refusal(
            f"--resume {folder}: no longer what it was begun with:\n  "
            + "\n  ".join(changes)
            + "\nTo go on all the same, add --accept-drift; to start a new run, --from"
        )
    unit = stage.config.unit
    done = record.metrics[-1][unit] if record.metrics else 0
    if record.summary and not record.summary["stopped"] and done >= stage.length:
        raise Refusal(
            f"--resume {folder}: all its {done} {unit}s are done. For more of them, add "
            f"{stage.config.flag_for_more(done)} --accept-drift"
        )
    checkpoint = log.checkpoints.latest(say)
    log.rewind(checkpoint.done if checkpoint else 0)
    if checkpoint:
        say(f"run folder {folder}: going on after {unit} {checkpoint.done}")
    else:
        say(f"run folder {folder}: no checkpoint was written yet, so it starts again")
    return checkpoint


def _lead(
    stage: Stage, log: RunLog, checkpoint: Checkpoint | None, began_s: float, experiment: str
) -> int:
    config = stage.config
    tracker = Tracker(
        log.folder,
        config=config.recorded(),
        project=config.tracking.project,
        name=log.folder.name,
        mode=config.tracking.mode,
        unit=config.unit,
    )
    stopped: str | None = None
    with contextlib.ExitStack() as exits:
        opened = OpenRun(
            log=log,
            tracker=tracker,
            progress=Progress(
                stage.length, unit=config.unit, done=checkpoint.done if checkpoint else 0
            ),
            checkpoint=checkpoint,
            began_s=began_s - (checkpoint.state["seconds"] if checkpoint else 0.0),
            exits=exits,
        )
        exits.callback(opened.progress.close)
        try:
            stopped = stage.run(opened)
        except KeyboardInterrupt:
            stopped = "interrupted"
        except (Refusal, EngineError, BudgetExceeded, LedgerError) as error:
            stopped = str(error)
        except Exception as error:
            if _is_for_want_of_room(error):
                stopped = f"{log.folder} cannot be written to ({error}). Make room, or use --out"
            else:
                opened.progress.close()
                traceback.print_exc()
                stopped = f"{type(error).__name__}: {error}"
        finally:
            _ignore_interrupts()  # what is open is closed in seconds, and has to be
    took_s = time.perf_counter() - opened.began_s
    how_it_went = opened.figures | {"seconds": took_s, "stopped": stopped}
    return _conclude(log, tracker, how_it_went, experiment)


def _conclude(
    log: RunLog, tracker: Tracker, how_it_went: Mapping[str, Any], experiment: str
) -> int:
    """Figures, report and what to do next; also of a run that was cut short."""
    record = read_run(log.folder)
    summary = {
        **summarise(record.metrics, record.heldout_before, record.heldout_after),
        **how_it_went,
        "folder": str(log.folder),
        "experiment": experiment,
    }
    stopped = summary["stopped"]
    failed = bool(stopped or summary.get("refused"))
    log.summary(summary)
    _report(log.folder)
    tracker.log_figures(report_figures(log.folder))
    tracker.finish(summary, failed=failed)
    print()
    print_summary(summary)
    if stopped:
        say(f"\nthe run stopped before its end: {stopped}")
    return int(failed)


def _is_for_want_of_room(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return any(words in str(error) for words in _NO_ROOM_SAID)


def _report(folder: Path) -> None:
    try:
        write_report(folder)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        say(
            f"the report cannot be written ({error}). Make room, then: python -m rl.report {folder}"
        )


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM is Ctrl-C inside, and both are as they were after it."""
    before = {which: signal.signal(which, _interrupt) for which in _INTERRUPTS}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    for which in _INTERRUPTS:
        signal.signal(which, signal.SIG_IGN)
