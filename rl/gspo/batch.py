"""A generation's sequences, and which of them are computed together.

Sequences are padded on the right only: with a causal model no real token then sees a padded one,
so no attention mask is needed and a slice of rows can be cut to the longest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rl.gspo.head import NOT_SCORED


@dataclass(frozen=True, slots=True)
class Batch:
    """B sequences of prompt and completion, L wide, of which T at most are completion.

    `scored_B` marks the rows whose every token the sampler gave a log-probability.
    """

    ids_BL: Tensor
    prompt_lengths_B: Tensor
    lengths_B: Tensor
    sampler_logps_BT: Tensor | None
    scored_B: Tensor

    @classmethod
    def of(
        cls,
        prompt_ids: Sequence[Sequence[int]],
        completion_ids: Sequence[Sequence[int]],
        sampler_logps: Sequence[Sequence[float | None]] | None,
        device: torch.device,
    ) -> "Batch":
        rows = [
            torch.tensor([*prompt, *completion], dtype=torch.long)
            for prompt, completion in zip(prompt_ids, completion_ids, strict=True)
        ]
        logps_BT, scored = None, [False] * len(rows)
        if sampler_logps is not None:
            scored = [all(x is not None for x in row) for row in sampler_logps]
            logps_BT = pad_sequence(
                [
                    torch.tensor([float("nan") if x is None else x for x in row])
                    for row in sampler_logps
                ],
                batch_first=True,
            ).to(device)
        return cls(
            ids_BL=pad_sequence(rows, batch_first=True).to(device),
            prompt_lengths_B=torch.tensor([len(x) for x in prompt_ids], device=device),
            lengths_B=torch.tensor([len(x) for x in completion_ids], device=device),
            sampler_logps_BT=logps_BT,
            scored_B=torch.tensor(scored, device=device),
        )

    def take(self, rows: Tensor) -> "Batch":
        """Some of the rows, without the padding that only the others needed."""
        totals_B = self.prompt_lengths_B[rows] + self.lengths_B[rows]
        return Batch(
            ids_BL=self.ids_BL[rows, : int(totals_B.max())],
            prompt_lengths_B=self.prompt_lengths_B[rows],
            lengths_B=self.lengths_B[rows],
            sampler_logps_BT=None if self.sampler_logps_BT is None else self.sampler_logps_BT[rows],
            scored_B=self.scored_B[rows],
        )

    def mask_BT(self, width: int) -> Tensor:
        return torch.arange(width, device=self.ids_BL.device) < self.lengths_B[:, None]

    def targets_BL(self) -> Tensor:
        """At each position the next token, where that token belongs to the completion."""
        next_BL = self.ids_BL.roll(-1, dims=1)
        place_L = torch.arange(self.ids_BL.shape[1], device=self.ids_BL.device)
        first_B1 = self.prompt_lengths_B[:, None] - 1
        inside_BL = (place_L >= first_B1) & (place_L < first_B1 + self.lengths_B[:, None])
        return next_BL.masked_fill(~inside_BL, NOT_SCORED)


def spread_over_minibatches(
    rows: int, minibatches: int, *, first_row: int, seed: int, generation: int
) -> Tensor:
    """Which minibatch each of this rank's rows belongs to.

    Every run of `minibatches` consecutive rows is dealt one to each minibatch, in an order drawn
    for that run alone. So each minibatch gets its share of every group, and who computes a row does
    not change which step it is in.
    """
    if rows % minibatches or first_row % minibatches:
        raise AssertionError(f"{rows} rows from {first_row} cannot be dealt to {minibatches}")
    deals = []
    for run in range(first_row // minibatches, (first_row + rows) // minibatches):
        generator = torch.Generator().manual_seed(_mix(seed, generation, run))
        deals.append(torch.randperm(minibatches, generator=generator))
    return torch.cat(deals)


def micro_batches(rows: Tensor, totals_B: Tensor, *, slots: int, size: int) -> list[Tensor]:
    """Rows of like length together, longest first, in exactly `slots` parts; empty ones lead.

    The last part is the one whose backward synchronises ranks, so it is filled first.
    """
    longest_first = rows[totals_B[rows].argsort(descending=True, stable=True)]
    parts = list(longest_first.split(size)) if len(rows) else []
    return [rows[:0]] * (slots - len(parts)) + parts


def _mix(*parts: int) -> int:
    value = 0
    for part in parts:
        value = (value * 1_000_003 + part + 1) % (2**63 - 1)
    return value
