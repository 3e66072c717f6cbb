"""Rewards to advantages, group by group. A row without a reward never votes.

Not in its group's mean, not in its spread, not in any denominator: a group with rows missing is
exactly the smaller group.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]

# Added to a spread before dividing by it, so that a hair's difference is not blown up.
SPREAD_FLOOR = 1e-4


class Advantages(NamedTuple):
    """`advantages_GK` is 0 on dead rows; `zero_spread_G` marks live groups of one opinion."""

    advantages_GK: Tensor
    live_GK: Tensor
    zero_spread_G: Tensor


def group_advantages(rewards_GK: Tensor, *, scale: Scale = "group", quorum: int = 2) -> Advantages:
    """Centre each group on the mean of its live rows and divide by a spread.

    NaN is a verdict that never came; an infinite reward is no verdict either. A group with fewer
    than `quorum` live rows has nothing to compare with and is dead whole. `scale` divides by the
    group's sample deviation, the batch's, or not at all.
    """
    if scale not in ("group", "batch", "none"):
        raise ValueError(f"scale={scale!r} is not one of 'group', 'batch', 'none'.")
    if quorum < 1:
        raise ValueError(
            f"quorum={quorum} must be at least 1: a group of no live rows cannot vote."
        )
    # Float64, so that a mean does not depend on the order of its terms.
    exact_GK = rewards_GK.double()
    live_GK = exact_GK.isfinite()
    live_GK = live_GK & (live_GK.sum(-1, keepdim=True) >= quorum)

    advantages_GK = torch.zeros_like(exact_GK)
    zero_spread_G = torch.zeros(len(exact_GK), dtype=torch.bool, device=exact_GK.device)
    for group in range(len(exact_GK)):
        live_K = live_GK[group]
        rewards = exact_GK[group][live_K]
        if len(rewards) == 0:
            continue
        if bool(rewards.min() == rewards.max()):
            zero_spread_G[group] = True
            continue
        centred = rewards - rewards.mean()
        spread = _deviation(rewards) if scale == "group" else 1.0
        advantages_GK[group][live_K] = centred / spread
    if scale == "batch":
        advantages_GK = advantages_GK / _deviation(exact_GK[live_GK])
    return Advantages(advantages_GK.to(rewards_GK.dtype), live_GK, zero_spread_G)


def _deviation(rewards: Tensor) -> Tensor | float:
    return rewards.std() + SPREAD_FLOOR if len(rewards) > 1 else 1.0
