"""What the commands share: their flags, what is said when it goes wrong, where they write."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from judges.config import JudgeConfig

T = TypeVar("T")
MENDABLE, INTERRUPTED = 2, 130
_OF_A_RUN = re.compile(r"--judge\.([a-z_-]+)")


def in_own_flags(text: str) -> str:
    """A run says --judge.max_usd where a command says --max-usd."""
    return _OF_A_RUN.sub(lambda match: f"--{match[1].replace('_', '-')}", text)


def read_flags(kind: type[T], name: str, args: Sequence[str]) -> T:
    """A run's --judge.max-usd may be typed too: some hints say it so."""
    import tyro

    return tyro.cli(
        kind,
        args=[in_own_flags(arg) for arg in args],
        prog=f"python -m judges {name}",
        config=(tyro.conf.OmitArgPrefixes,),
    )


def counted(counts: Mapping[str, int]) -> str:
    """The most frequent first."""
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{count} {name}" for name, count in ordered)


def refuse_settings(judge: JudgeConfig, names: Sequence[str], *, where: str) -> None:
    """Those that have no meaning there, and are not left as they are."""
    for name in names:
        if (value := getattr(judge, name)) != getattr(JudgeConfig(), name):
            raise ValueError(
                f"judge.{name} is {value!r}: it has no meaning where {where}. Leave it out"
            )


def exit_status(problems: Sequence[str]) -> int:
    """1 where there is one, and each is said."""
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def told(work: Callable[[], int], *, kept: Callable[[], str]) -> int:
    """The exit code. What goes wrong is told in a line; after Ctrl-C, `kept` says what is left."""
    try:
        status = work()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `| head` has read enough
        _drop_output()
        return MENDABLE
    except (ValueError, OSError) as error:
        print(in_own_flags(str(error)), file=sys.stderr)
        _drop_output()
        return MENDABLE
    except KeyboardInterrupt:
        print(f"interrupted; {kept()}", file=sys.stderr)
        return INTERRUPTED


def _drop_output() -> None:
    """What is still to be printed cannot be, or need not be; Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def in_ledger(ledger: str | None) -> str:
    if ledger:
        return f"what was judged is in {ledger}: the same command goes on from there"
    return "what was judged is lost. With --ledger FILE it is kept"


def check_writable(*, ledger: str | None = None, **paths: str | None) -> None:
    """By flag. Told before anything is judged, because what was judged has been paid."""
    named = {flag: path for flag, path in paths.items() if path is not None}
    for flag, path in named.items():
        _check_writable(f"--{flag} is {path!r}", Path(path))
    named |= {"ledger": ledger} if ledger else {}
    if len({os.path.realpath(path) for path in named.values()}) < len(named):
        places = " and ".join(f"--{flag} {path}" for flag, path in named.items())
        raise ValueError(f"{places}: one would be written over the other. Name different files")


def _check_writable(said: str, path: Path) -> None:
    folder = path.parent
    if os.path.isdir(path):  # unlike a Path's own, it takes any name
        raise ValueError(f"{said}: that is a folder. Name a file in it")
    if not os.path.exists(folder):
        raise ValueError(f"{said}: there is no folder {folder}. Type: mkdir -p {folder}")
    if not os.path.isdir(folder):
        raise ValueError(f"{said}: {folder} is not a folder. Name a file in one")
    try:
        is_new = not os.path.exists(path)
        if is_new or path.is_file():  # a pipe would take the end of this for the end of all
            path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise ValueError(
            f"{said}: it cannot be written to ({error.strerror}). Name a file elsewhere"
        ) from error


def write(flag: str, path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ValueError(f"--{flag} {path} could not be written ({error.strerror})") from error


def write_json(path: str, figures: Mapping[str, object], verdicts: object) -> None:
    whole = {**figures, "verdicts": verdicts}
    write("json", path, json.dumps(whole, ensure_ascii=False, indent=1))
