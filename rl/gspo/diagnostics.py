"""What an update did, over live rows.

The update fills one `RowTable` line per sequence. What was not measured is marked so, apart from
what was and is NaN: that is broken, and so is every mean it is in. Ranks join their tables before
anything is averaged, so a rank with two rows never weighs like a rank with sixty.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rl.gspo.ratio_bins import RATIO_EDGES

WAY_OUT = "Lower --gspo.learning-rate, or use --policy.dtype float32"


def k1(logps_BT: Tensor, other_logps_BT: Tensor) -> Tensor:
    """Per token, an estimate of KL(sampled || other): exact on average, of either sign.

    `logps_BT` must be those of the distribution the tokens were drawn from; so too in `k3`.
    """
    return logps_BT - other_logps_BT


def k3(logps_BT: Tensor, other_logps_BT: Tensor) -> Tensor:
    """Per token, an estimate of KL(sampled || other): exact on average and never negative."""
    log_ratio_BT = other_logps_BT - logps_BT
    return log_ratio_BT.expm1() - log_ratio_BT


def effective_sample_size(ratios_B: Tensor) -> float:
    """The share of sequences still counting when weighted by `ratios_B`; 1 if all weigh alike."""
    return float(ratios_B.sum() ** 2 / ratios_B.square().sum() / ratios_B.numel())


class ClipFractions(NamedTuple):
    seq: float
    low: float
    high: float
    token: float


def clip_fractions(
    ratios_B: Tensor,
    advantages_B: Tensor,
    lengths_B: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> ClipFractions:
    """The share of sequences the window cuts, on which side, and the share of tokens they hold."""
    low_B = (ratios_B < 1 - clip_low) & (advantages_B < 0)
    high_B = (ratios_B > 1 + clip_high) & (advantages_B > 0)
    cut_B = low_B | high_B
    return ClipFractions(
        seq=float(cut_B.double().mean()),
        low=float(low_B.double().mean()),
        high=float(high_B.double().mean()),
        token=float(lengths_B[cut_B].sum() / lengths_B.sum().clamp(min=1)),
    )


@dataclass(frozen=True, slots=True)
class RowTable:
    """One line a sequence. The `_sum` columns add up a per-token quantity over its tokens."""

    columns = (
        "step",
        "length",
        "advantage",
        "ratio",
        "entropy_sum",
        "kl_old_sum",
        "kl_sampler_sum",
        "drift_sampler_sum",
        "capped_sum",
        "kl_ref_sum",
    )
    values_BC: Tensor
    measured_BC: Tensor

    @classmethod
    def empty(cls, rows: int, device: torch.device) -> "RowTable":
        shape = (rows, len(cls.columns))
        return cls(
            torch.zeros(shape, dtype=torch.float64, device=device),
            torch.zeros(shape, dtype=torch.bool, device=device),
        )

    def __getitem__(self, column: str) -> Tensor:
        return self.values_BC[:, self.columns.index(column)]

    def measured(self, column: str) -> Tensor:
        return self.measured_BC[:, self.columns.index(column)]

    def write(self, rows: Tensor, where: Tensor | None = None, **columns: Tensor) -> None:
        """One value for each of `rows`, of which those not in `where` are not measured."""
        for column, values in columns.items():
            place = self.columns.index(column)
            kept = slice(None) if where is None else where
            self.values_BC[rows[kept], place] = values[kept].detach().double()
            self.measured_BC[rows[kept], place] = True


def update_metrics(table: RowTable, *, clip_low: float, clip_high: float) -> dict[str, object]:
    """The update's metrics over the rows that were computed. What nobody measured is absent."""
    metrics: dict[str, object] = {}
    # In a generation's first step the policy is the one that sampled: its ratios are 1 whatever is
    # done, and would dilute every share by the number of steps.
    can_clip_B = table["step"] > 0
    per_token = {
        "entropy": "entropy_sum",
        "kl/old": "kl_old_sum",
        "kl/sampler": "kl_sampler_sum",
        "sampler/drift": "drift_sampler_sum",
        "sampler/capped": "capped_sum",
        "kl/ref": "kl_ref_sum",
    }
    for name, column in per_token.items():
        measured_B = table.measured(column)
        if name == "kl/old":
            measured_B = measured_B & can_clip_B
        tokens = float(table["length"][measured_B].sum())
        if tokens:
            metrics[name] = float(table[column][measured_B].sum()) / tokens

    computed_B = table.measured("ratio")
    if bool(computed_B.any()):
        metrics |= _of_all_ratios(table["ratio"][computed_B])
    could_B = computed_B & can_clip_B
    if not bool(could_B.any()):
        return metrics
    ratios_B = table["ratio"][could_B]
    clipped = clip_fractions(
        ratios_B,
        table["advantage"][could_B],
        table["length"][could_B],
        clip_low=clip_low,
        clip_high=clip_high,
    )
    metrics |= {
        "ratio/log_std": float(ratios_B.log().std(correction=0)),
        "clip/seq": clipped.seq,
        "clip/low": clipped.low,
        "clip/high": clipped.high,
        "clip/token": clipped.token,
        "ess": effective_sample_size(ratios_B),
    }
    return metrics


def _of_all_ratios(ratios_B: Tensor) -> dict[str, object]:
    edges = torch.tensor(RATIO_EDGES, dtype=ratios_B.dtype, device=ratios_B.device)
    bins_B = torch.bucketize(ratios_B, edges)
    return {
        "ratio/min": float(ratios_B.min()),
        "ratio/mean": float(ratios_B.mean()),
        "ratio/max": float(ratios_B.max()),
        "ratio/histogram": torch.bincount(bins_B, minlength=len(edges) + 1).tolist(),
    }


def broken_metric(row: Mapping[str, object]) -> str | None:
    """Why a run must stop whose metrics hold a number that is none."""
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            way_out = WAY_OUT
            if "sampler" in name:
                way_out = (
                    "The sampler's log-probs are no numbers: look at its log, and try"
                    " --rollout.engine transformers"
                )
            return f"{name} is {value} in generation {row['generation']}. {way_out}"
    return None
