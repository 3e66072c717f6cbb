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
    from trl import pack_dataset

    if sft.blocks:
        data = _blocks(rows, sft.max_tokens)
    elif sft.packing:
        data = pack_dataset(dataset_of(rows), sft.max_tokens, "bfd")
    else:
        data = dataset_of(rows)
    steps = sft.steps or math.ceil(len(data) * sft.epochs / sft.batch_rows)
    return Batches(rows=data, steps=steps)


def _blocks(rows: Sequence[TokenRow], tokens: int) -> Any:
    """Texts see those before them in their block; their ends are learnt as the rest is."""
    from datasets import Dataset, disable_progress_bars
    from trl import pack_dataset

    disable_progress_bars()
    texts = Dataset.from_dict({"input_ids": [row.token_ids for row in rows]})
    at_once = {"batch_size": len(texts)}  # else each batch of them would end in a short block
    blocks = pack_dataset(texts, tokens, "wrapped", map_kwargs=at_once)["input_ids"]
    whole = [block for block in blocks if len(block) > 1]
    labels = [[-100, *block[1:]] for block in whole]
    return Dataset.from_dict({"input_ids": whole, "labels": labels})


def heldout_of(rows: Sequence[TokenRow]) -> dict[str, Any]:
    """A data set for each domain they are of."""
    domains = dict.fromkeys(row.example.domain for row in rows)
    return {
        domain: dataset_of([row for row in rows if row.example.domain == domain])
        for domain in domains
    }


def dataset_of(rows: Sequence[TokenRow]) -> Any:
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset.from_dict(
        {
            "input_ids": [row.token_ids for row in rows],
            "labels": [row.labels() for row in rows],
        }
    )
