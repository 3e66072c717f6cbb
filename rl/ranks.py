"""A run on several processes: the first samples, judges and writes, all share the update.

So a run has one sampler, one judge with one limiter, one budget and one ledger, and one record,
however many processes compute its gradient. Started by `torchrun` or `accelerate launch`, which say
in the environment who is who.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rl.gspo.trainer import RolloutFunc

PATIENCE = timedelta(days=7)
"""The others wait while the first does: a judge may be down over a weekend."""


class FirstIsGone(Exception):
    """It has ended, and said why."""


def is_first() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


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

    def for_all(self, rollout: "RolloutFunc") -> "RolloutFunc":
        """In the first process: sample and judge everybody's prompts, and deal out what came."""
        if self.count == 1:
            return rollout
        from torch.distributed import gather_object, scatter_object_list

        def deal(prompts: list[Any], trainer: Any) -> dict[str, Any]:
            asked: list[list[Any]] = [[] for _ in range(self.count)]
            gather_object(prompts, asked, group=self._group)
            whole = rollout([prompt for part in asked for prompt in part], trainer)
            rows = len(prompts)
            parts = [
                {name: field[rank * rows : (rank + 1) * rows] for name, field in whole.items()}
                for rank in range(self.count)
            ]
            scatter_object_list([None], parts, src=0, group=self._group)
            return parts[0]

        return deal

    def from_first(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """In the others, TRL's `rollout_func`: say what is asked for, take what comes."""
        from torch.distributed import gather_object, scatter_object_list

        mine: list[Any] = [None]
        with _waiting():
            gather_object(prompts, group=self._group)
            scatter_object_list(mine, None, src=0, group=self._group)
        return mine[0]


@contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what torch makes of a closed connection
        raise FirstIsGone from error
