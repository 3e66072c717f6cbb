"""A run's state at the end of a generation or step: on disk whole or not at all, and found again.

The trainer writes its part (what learns, optimizer, schedule, random states) into a folder of its
own; `seal` adds the run's part and everybody's checksums, and only then gives the folder its name.
What was cut short keeps no name, what was damaged later fails its sums: the one before it is used.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.policy.files import sha256
from rl.policy.load import Policy
from rl.refusal import Refusal

KEPT = 2
_SUMS = "sums.json"
_STATE = "run.json"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    folder: Path
    state: Mapping[str, Any]
    """The run's part. `done` is how many generations or steps are in it."""

    @property
    def done(self) -> int:
        return self.state["done"]


class Checkpoints:
    """Those of one run, by what it counts in: the last two, and the best by held-out `score`."""

    def __init__(self, root: Path, unit: str) -> None:
        self.root, self._unit = root, unit
        self.unfinished = root / "unfinished"
        """Where the trainer writes; what an earlier process left there is of no use."""

    def seal(self, written: Path, state: Mapping[str, Any]) -> None:
        """Make the trainer's folder a checkpoint, then let go of those no longer needed."""
        (written / _STATE).write_text(json.dumps(state, indent=2) + "\n")
        sums = {file.name: _sum_and_sync(file) for file in sorted(written.iterdir())}
        (written / _SUMS).write_text(json.dumps(sums, indent=2) + "\n")
        _sum_and_sync(written / _SUMS)
        final = self.root / f"{self._unit}-{state['done']:06d}"
        shutil.rmtree(final, ignore_errors=True)
        os.replace(written, final)
        self._let_go()

    def latest(self, say: Callable[[str], None]) -> Checkpoint | None:
        """The last one that is whole; what is wrong with a later one is said."""
        for folder in reversed(self._folders()):
            try:
                return _opened(folder)
            except Refusal as error:
                say(f"{error}; using the one before it")
        return None

    def best(self) -> Checkpoint | None:
        """Of those that were measured on held-out rows."""
        folder = self._best_folder()
        return _opened(folder) if folder else None

    def _best_folder(self) -> Path | None:
        best = max(self._folders(), key=_score, default=None)
        return best if best and _score(best) > -float("inf") else None

    def _let_go(self) -> None:
        shutil.rmtree(self.unfinished, ignore_errors=True)
        folders = self._folders()
        best = self._best_folder()
        for folder in folders[:-KEPT]:
            if folder != best:
                shutil.rmtree(folder)

    def _folders(self) -> list[Path]:
        return sorted(self.root.glob(f"{self._unit}-*"))


def train_from(checkpoint: Checkpoint | None, trainer: Any, policy: Policy, *, length: int) -> None:
    """To the end, from the checkpoint if there is one."""
    if checkpoint is None:
        trainer.train()
    elif checkpoint.done < length:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder))
    else:  # only what comes after training was still to do
        policy.take_over(checkpoint.folder)


def _opened(folder: Path) -> Checkpoint:
    try:
        sums = json.loads((folder / _SUMS).read_text())
        torn = [name for name, digest in sums.items() if sha256(folder / name) != digest]
        state = json.loads((folder / _STATE).read_text())
        known = sums and isinstance(state["done"], int)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refusal(f"{folder} is not a whole checkpoint of a run ({error})") from error
    if torn or not known:
        raise Refusal(f"{folder} is damaged: {', '.join(torn)} changed since it was written")
    return Checkpoint(folder=folder, state=state)


def _score(folder: Path) -> float:
    with contextlib.suppress(OSError, ValueError):
        score = json.loads((folder / _STATE).read_text()).get("score")
        return -float("inf") if score is None else score
    return -float("inf")


def _sum_and_sync(file: Path) -> str:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
    return sha256(file)
