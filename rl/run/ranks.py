"""A run on several processes: the first samples, judges and writes, all share the update.

So a run has one sampler, one judge with one limiter, one budget and one ledger, and one record,
however many processes compute its gradient. Started by `torchrun` or `accelerate launch`, which say
in the environment who is who.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""The others wait while the first does: a judge may be down over a weekend."""


class FirstIsGone(Exception):
    """It has ended, and said why."""


def is_first() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def say(what: str) -> None:
    """To the person, once, however many processes there are."""
    if is_first():
        print(what, file=sys.stderr, flush=True)


def without_ranks(environment: dict[str, str]) -> dict[str, str]:
    """For a child that is no part of the group, and may have ranks of its own."""
    ours = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    names = {*ours, *(f"{level}_{name}" for level in ("LOCAL", "GROUP", "ROLE") for name in ours)}
    return {
        name: value
        for name, value in environment.items()
        if name not in names and not name.startswith("TORCHELASTIC_")
    }


def rank_count() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


class Ranks:
    """Every process opens one, and all call the same methods in the same order."""

    def __init__(self) -> None:
        self.count = rank_count()
        if self.count > 1:
            import torch
            from accelerate import PartialState

            PartialState(cpu=not torch.cuda.is_available())
            # Apart from the gradients' group, which takes a long silence for a death.
            self._group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)

    def share(self, value: Any = None) -> Any:
        """The first process's value, in all of them, as soon as it has one."""
        if self.count == 1:
            return value
        from torch.distributed import broadcast_object_list

        held = [value]
        with _waiting():
            broadcast_object_list(held, src=0, group=self._group)
        return held[0]

    def from_first(self, make: Callable[P, T] | None) -> Callable[P, T]:
        """A call that the first process makes and all return from; the others bring no `make`."""

        def call(*arguments: P.args, **options: P.kwargs) -> T:
            return self.share(make(*arguments, **options) if make else None)

        return call


@contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch makes of a closed connection
        raise FirstIsGone from error
