"""Files by their content, and folders that are there whole or not at all."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from rl.refusal import Refusal

SPARE = 1.05
"""Of the room that is asked for: what lies beside the weights, and the disk's own books."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def whole_folder(out: str, *, nbytes: int) -> Iterator[Path]:
    """A folder to fill with so many bytes; it gets its name when all of it is there."""
    target = Path(out).expanduser().absolute()
    if target.exists():
        raise Refusal(f"--out {out} is there already. Name another folder, or move it away")
    check_room(next(folder for folder in target.parents if folder.is_dir()), nbytes)
    scratch = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise Refusal(
            f"--out {out} cannot be made ({error.strerror}). Name another folder"
        ) from error
    try:
        yield scratch
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_room(folder: Path, nbytes: int) -> None:
    free, wanted = shutil.disk_usage(folder).free, int(nbytes * SPARE)
    if free < wanted:
        raise Refusal(
            f"{folder} has {free / 1e9:.2f} GB left, and {wanted / 1e9:.2f} GB will be written. "
            "Make room there, or name another folder with --out"
        )
