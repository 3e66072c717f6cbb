"""Which rows are trained on, and which are kept to measure on."""

import random
from collections.abc import Callable
from typing import Protocol, TypeVar

from rl.config import DataConfig

SAMPLE = "sample"


class Asking(Protocol):
    @property
    def asked(self) -> str: ...
    @property
    def split(self) -> str: ...


R = TypeVar("R", bound=Asking)
Read = Callable[[str, str], list[R]]
"""Rows by the name of their data and the flag that gave it."""


def parted(config: DataConfig, read: Read[R]) -> tuple[list[R], list[R]]:
    """Rows to train on, and held-out ones: nothing is asked in both."""
    rows = read(config.train, "--data.train")
    draw = random.Random(0)  # the same for every seed, so that runs can be compared
    if config.heldout == SAMPLE:
        one_each = list({row.asked: row for row in rows}.values())
        draw.shuffle(one_each)  # so that fewer rows are some of the same
        heldout = one_each[: min(config.heldout_rows, len(one_each) - 1)]
        kept_back = {row.asked for row in heldout}
        return [row for row in rows if row.asked not in kept_back], heldout
    if config.heldout is None:
        train = [row for row in rows if row.split != "heldout"]
        heldout = [row for row in rows if row.split == "heldout"]
    else:
        train, heldout = rows, read(config.heldout, "--data.heldout")
        asked = {row.asked for row in train}
        heldout = [row for row in heldout if row.asked not in asked]
    draw.shuffle(heldout)
    return train, heldout[: config.heldout_rows]
