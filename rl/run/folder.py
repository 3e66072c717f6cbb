"""The run folder: what a run leaves on disk while it goes on, and how it is read back.

Rows are appended and flushed, whole files are replaced in one step, so a run that is killed at any
moment leaves a folder that reads. This is the record: trackers and reports are made from it.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rl.config import load
from rl.config.gspo import GSPORun
from rl.config.kinds import KINDS, TRAININGS
from rl.config.shared import TrainingRun
from rl.refusal import Refusal
from rl.run.checkpoint import Checkpoints

Row = dict[str, Any]
HeldoutMoment = Literal["before", "after"]
GROWING = ("metrics.jsonl", "rollouts.jsonl", "heldout_during.jsonl")


class RunLog:
    """Writes one run's folder. Open a new one with `create`, an earlier one with its path."""

    def __init__(self, folder: Path, unit: str = "generation") -> None:
        self.folder, self.unit = folder, unit
        self.checkpoints = Checkpoints(folder / "checkpoints", unit)
        with _told_plainly(folder, "written to"):
            folder.mkdir(parents=True, exist_ok=True)
            for name in GROWING:
                cut_torn_line(folder / name)

    @classmethod
    def create(cls, root: Path, name: str, unit: str = "generation") -> "RunLog":
        """A new folder `root/name`, numbered if that name is taken: no run overwrites another."""
        for number in itertools.count(1):
            folder = root / (name if number == 1 else f"{name}-{number}")
            with _told_plainly(folder, "created"), contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return cls(folder, unit)
        raise AssertionError

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Refusal where another process is writing this folder."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Refusal(
                f"{self.folder} is being written by another process: that run still goes on"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def rewind(self, done: int) -> None:
        """Forget what came after so many generations or steps: it is done again."""
        for name in GROWING:
            if (path := self.folder / name).is_file():
                kept = (row for row in read_rows(path) if row[self.unit] <= done)
                self._replace(name, "".join(_json(row) + "\n" for row in kept))
        for name in ("heldout_after.jsonl", "summary.json"):
            (self.folder / name).unlink(missing_ok=True)

    def config(self, config: Mapping[str, Any]) -> None:
        self._replace("config.json", _json(config, indent=2) + "\n")

    def made_with(self, facts: Mapping[str, str]) -> None:
        """What stood behind the names in the settings, and the versions of what computed."""
        self._replace("made_with.json", _json(facts, indent=2) + "\n")

    def metrics(self, row: Mapping[str, Any]) -> None:
        """One generation or step. What is not a finite number was not measured, and is left out."""
        measured = {key: value for key, value in _plain(row).items() if value is not None}
        self._append("metrics.jsonl", [measured])

    def rollouts(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._append("rollouts.jsonl", rows)

    def heldout(self, moment: HeldoutMoment, rows: Iterable[Mapping[str, Any]]) -> None:
        self._replace(f"heldout_{moment}.jsonl", "".join(_json(row) + "\n" for row in rows))

    def heldout_during(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._append("heldout_during.jsonl", rows)

    def left_out(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of the data that nothing is learnt from, with their lines."""
        self._replace("left_out.jsonl", "".join(_json(row) + "\n" for row in rows))

    def summary(self, summary: Mapping[str, Any]) -> None:
        self._replace("summary.json", _json(summary, indent=2) + "\n")

    def text(self, name: str, text: str) -> None:
        """A file that a kind of run has of its own."""
        self._replace(name, text)

    def _append(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(_json(row) + "\n" for row in rows)
        with _told_plainly(self.folder, "written to"), (self.folder / name).open("ab") as file:
            file.write(text.encode())

    def _replace(self, name: str, text: str) -> None:
        path = self.folder / name
        part = path.with_name(name + ".part")
        with _told_plainly(self.folder, "written to"):
            try:
                part.write_text(text, encoding="utf-8")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder as read back. What is not there yet is empty."""

    folder: Path
    config: Row
    made_with: Row
    metrics: list[Row]
    heldout_before: list[Row]
    heldout_after: list[Row]
    summary: Row

    @property
    def kind(self) -> str:
        return self.config.get("kind", GSPORun.kind)

    @property
    def unit(self) -> str:
        """What it counts in."""
        return KINDS[self.kind].unit

    def counted(self) -> list[float]:
        """Where each row of metrics stands."""
        return column(self.metrics, self.unit)

    def rollouts(self) -> Iterator[Row]:
        """Every completion, one at a time: there may be more of them than fit in memory."""
        return read_rows(self.folder / "rollouts.jsonl")


def read_run(folder: Path) -> Run:
    if not (folder / "metrics.jsonl").is_file() and not (folder / "config.json").is_file():
        raise Refusal(
            f"{folder} is not a run folder: it holds neither metrics.jsonl nor config.json. "
            f"Name a folder such as runs/NAME."
        )
    return Run(
        folder=folder,
        config=_read_object(folder / "config.json"),
        made_with=_read_object(folder / "made_with.json"),
        metrics=list(read_rows(folder / "metrics.jsonl")),
        heldout_before=list(read_rows(folder / "heldout_before.jsonl")),
        heldout_after=list(read_rows(folder / "heldout_after.jsonl")),
        summary=_read_object(folder / "summary.json"),
    )


def settings_as_learnt(run: Path, kind: str, *, flag: str) -> TrainingRun:
    """Of a training, and how its policy is asked: fine-tuning lets each row say whether it thinks,
    and the summary says whether some did."""
    settings = load(run, TRAININGS[kind], flag=flag)
    if settings.data.thinking is None and _read_object(run / "summary.json").get("thinks"):
        data = dataclasses.replace(settings.data, thinking=True)
        return dataclasses.replace(settings, data=data)
    return settings


def newest_run(root: Path = Path("runs")) -> Path:
    """The run folder under `root` that was written to last."""
    logs = [*root.glob("*/metrics.jsonl"), *root.glob("*/config.json")]
    if not logs:
        raise Refusal(f"There is no run under {root}. Make one with `make quickstart`.")
    return max(logs, key=lambda path: path.stat().st_mtime).parent


def column(rows: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    """One metric over the rows, NaN where it was not measured."""
    return [float(row[key]) if key in row else math.nan for row in rows]


def _read_object(path: Path) -> Row:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refusal(f"{path} is not JSON ({error}). Mend or delete it.") from error


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a JSONL file. A last line without its end was being written when the run died."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise Refusal(
                    f"{path} line {number} is not JSON ({error}). Delete it to read the rest."
                ) from error


def cut_torn_line(path: Path) -> None:
    """So that the next row starts on a line of its own."""
    if path.is_file():
        whole = path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            os.truncate(path, end)


def _json(value: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    """Numbers of other libraries become numbers, paths become text, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


@contextlib.contextmanager
def _told_plainly(folder: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refusal(
            f"The run folder {folder} cannot be {what}: {error.strerror}. "
            "Make room there, or name another folder."
        ) from error
