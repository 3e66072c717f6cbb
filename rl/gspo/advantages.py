"""Rewards to advantages, group by group. A row without a reward never votes.

Not in its group's mean, not in its spread, not in any denominator: a group with rows missing is
exactly the smaller group.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rl.config.gspo import GSPOConfig
from rl.gspo.generation import Generation

Scale = Literal["group", "batch", "none"]

# Added to a spread before dividing by it, so that a hair's difference is not blown up.
SPREAD_FLOOR = 1e-4


class Advantages(NamedTuple):
    """`advantages_GK` is 0 on dead rows; `zero_spread_G` marks live groups of one opinion.

    Those of them whose rewards do differ, but by less than counts, are in `below_spread_G` too.
    """

    advantages_GK: Tensor
    live_GK: Tensor
    zero_spread_G: Tensor
    below_spread_G: Tensor


def group_advantages(
    rewards_GK: Tensor, *, scale: Scale = "group", quorum: int = 2, min_spread: float = 0.0
) -> Advantages:
    """Centre each group on the mean of its live rows and divide by a spread.

    NaN is a verdict that never came; an infinite reward is no verdict either. A group with fewer
    than `quorum` live rows has nothing to compare with and is dead whole. `scale` divides by the
    group's sample deviation, the batch's, or not at all.

    A group whose highest and lowest reward are less than `min_spread` apart is of one opinion:
    divided by its own deviation, the noise of a reading would train at full size.
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
    below_spread_G = torch.zeros_like(zero_spread_G)
    for group in range(len(exact_GK)):
        live_K = live_GK[group]
        rewards = exact_GK[group][live_K]
        if len(rewards) == 0:
            continue
        apart = float(rewards.max() - rewards.min())
        if not apart or apart < min_spread:
            zero_spread_G[group], below_spread_G[group] = True, apart > 0
            continue
        centred = rewards - rewards.mean()
        spread = _deviation(rewards) if scale == "group" else 1.0
        advantages_GK[group][live_K] = centred / spread
    if scale == "batch":
        advantages_GK = advantages_GK / _deviation(exact_GK[live_GK])
    return Advantages(advantages_GK.to(rewards_GK.dtype), live_GK, zero_spread_G, below_spread_G)


def _deviation(rewards: Tensor) -> Tensor | float:
    return rewards.std() + SPREAD_FLOOR if len(rewards) > 1 else 1.0


@dataclass(frozen=True, slots=True)
class Votes:
    """A generation's rewards as they count: NaN where a row is dead, and `causes` says why."""

    rewards_N: Tensor
    causes: Sequence[str]
    scored: Advantages

    @property
    def advantages_N(self) -> Tensor:
        return self.scored.advantages_GK.flatten()

    @property
    def live_N(self) -> Tensor:
        return self.scored.live_GK.flatten()

    def advantages(self) -> list[float | None]:
        """A row's advantage, None where it is dead."""
        rows = zip(self.advantages_N.tolist(), self.live_N.tolist(), strict=True)
        return [advantage if live else None for advantage, live in rows]

    def metrics(self) -> dict[str, float]:
        """What the verdicts were, and why a row does not vote."""
        judged_N = ~self.rewards_N.isnan()
        live, rows = int(self.live_N.sum()), len(self.live_N)
        metrics: dict[str, float] = {
            "rows/live": live,
            "rows/dead": rows - live,
            "groups/zero_spread": int(self.scored.zero_spread_G.sum()),
            "groups/below_spread": int(self.scored.below_spread_G.sum()),
        }
        dead = Counter(
            "below_quorum" if judged else cause
            for cause, judged, votes in zip(
                self.causes, judged_N.tolist(), self.live_N.tolist(), strict=True
            )
            if not votes
        )
        metrics |= {f"rows/dead_{cause}": count for cause, count in sorted(dead.items())}
        if live:
            rewards = self.rewards_N[self.live_N]
            metrics["reward/mean"] = float(rewards.mean())
            metrics["reward/std"] = float(rewards.std(correction=0))
        return metrics


def count_votes(generation: Generation, settings: GSPOConfig) -> Votes:
    """Which rows vote under these settings, and with what advantage."""
    rewards = [math.nan if r is None else float(r) for r in generation.rewards]
    causes = list(generation.causes or ["no_verdict"] * len(rewards))
    for row, reward in enumerate(rewards):
        if math.isinf(reward):
            rewards[row], causes[row] = math.nan, "infinite_reward"
        if settings.truncated == "dead" and generation.truncated and generation.truncated[row]:
            rewards[row], causes[row] = math.nan, "truncated"
        if (way_out := _needs_logprobs(settings)) and not _is_scored(generation, row, way_out):
            rewards[row], causes[row] = math.nan, "no_logprobs"
    rewards_N = torch.tensor(rewards)
    scored = group_advantages(
        rewards_N.view(-1, settings.group_size),
        scale=settings.scale_rewards,
        quorum=settings.quorum,
        min_spread=settings.min_spread or 0.0,
    )
    return Votes(rewards_N, causes, scored)


def _needs_logprobs(settings: GSPOConfig) -> str | None:
    """What to type where the sampler's log-probs are needed, and are not there."""
    if settings.old_policy == "sampler":
        return "--gspo.old-policy trainer"
    return None if settings.sampler_correction == "off" else "--gspo.sampler-correction off"


def _is_scored(generation: Generation, row: int, way_out: str) -> bool:
    if generation.logprobs is None:
        raise ValueError(
            "The update needs the sampler's log-probs, but these rollouts come without."
            f" Type {way_out}"
        )
    return all(logp is not None and math.isfinite(logp) for logp in generation.logprobs[row])
