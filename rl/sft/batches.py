"""Token rows as the trainer goes through them: packed where that is asked for, and in order.

The order is a function of the seed, and every optimizer step has all its rows: how many processes
share a step, and where a run was resumed, is not in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rl.config.sft import SFTConfig
from rl.data.order import in_passes
from rl.sft.rows import TokenRow


@dataclass(frozen=True, kw_only=True)
class Batches:
    rows: Any
    """A data set of the rows, or of packs of them, each once."""
    steps: int

    def in_order(self, sft: SFTConfig, seed: int) -> Any:
        """All that is learnt from, step after step. Within a step long rows lie together."""
        count = self.steps * sft.batch_rows
        order = in_passes(count, seed=seed, rows=len(self.rows))
        lengths = [len(ids) for ids in self.rows["input_ids"]]
        steps = range(0, count, sft.batch_rows)
        return self.rows.select(
            [
                row
                for start in steps
                for row in sorted(order[start : start + sft.batch_rows], key=lengths.__getitem__)
            ]
        )


def to_batches(rows: Sequence[TokenRow], sft: SFTConfig) -> Batches:
    data = dataset_of(rows)
    if sft.packing:
        from trl import pack_dataset

        data = pack_dataset(data, sft.max_tokens, "bfd")
    steps = sft.steps or math.ceil(len(data) * sft.epochs / sft.batch_rows)
    return Batches(rows=data, steps=steps)


def dataset_of(rows: Sequence[TokenRow]) -> Any:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset.from_dict(
        {
            "input_ids": [row.token_ids for row in rows],
            "labels": [row.labels() for row in rows],
        }
    )
