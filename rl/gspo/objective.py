"""The GSPO objective as pure tensor functions: log-probabilities in, a scalar loss out.

Nothing here knows a trainer, a model or what a reward means. Shapes are in the names: B sequences,
T completion positions, G groups of K completions. `docs/gspo.md` derives every line.

A row is *live* when it votes. A dead row appears in no numerator, no denominator and no diagnostic,
whatever its log-probabilities or advantage hold, NaN included.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["sequence", "dr_grpo"]


@dataclass(frozen=True, slots=True)
class GspoLoss:
    """`ratios_B` is NaN on dead rows, so that a diagnostic that forgets `live_B` shows itself."""

    loss: Tensor
    ratios_B: Tensor
    clipped_B: Tensor


def gspo_loss(
    logps_BT: Tensor,
    old_logps_BT: Tensor,
    advantages_B: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    aggregation: Aggregation = "sequence",
    max_length: int | None = None,
    live_B: Tensor | None = None,
    live_total: float | None = None,
    weights_BT: Tensor | None = None,
) -> GspoLoss:
    """Clip one ratio per sequence, the geometric mean of its token ratios.

    `aggregation="sequence"` is the paper: every live sequence weighs the same. `"dr_grpo"` weighs a
    sequence by its tokens over `max_length`.

    `live_total` is the number of live rows the mean is taken over. It defaults to those given here;
    a caller that accumulates gradients passes the count of the whole optimizer step, so that the
    sum of its parts is the loss of the whole.

    `weights_BT` are those of `truncated_weights`: a sequence then counts by its tokens' mean.
    """
    live_B, votes_BT = _votes(mask_BT, live_B)
    ratios_B = sequence_log_ratios(logps_BT, old_logps_BT, votes_BT).exp()
    advantages_B = advantages_B.to(ratios_B.dtype).masked_fill(~live_B, 0.0)

    surrogate_B, clipped_B = _clip(ratios_B, advantages_B, clip_low, clip_high)
    if weights_BT is not None:
        weights_BT = weights_BT.to(ratios_B.dtype)
        surrogate_B = surrogate_B * _over_tokens(weights_BT, votes_BT, aggregation, max_length)
    elif aggregation == "dr_grpo":
        surrogate_B = surrogate_B * votes_BT.sum(-1) / _needed(max_length)
    return GspoLoss(
        loss=-_mean_over_live(surrogate_B, live_B, live_total),
        ratios_B=ratios_B.detach().masked_fill(~live_B, float("nan")),
        clipped_B=clipped_B & live_B,
    )


def gspo_token_loss(
    logps_BT: Tensor,
    old_logps_BT: Tensor,
    advantages_BT: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    aggregation: Aggregation = "sequence",
    max_length: int | None = None,
    live_B: Tensor | None = None,
    live_total: float | None = None,
) -> GspoLoss:
    """GSPO-token: the sequence's ratio on every token, with an advantage of the token's own.

    The ratio's value is the sequence's, its gradient the token's. Where a row's advantages are all
    the same, so are value and gradient to `gspo_loss`. `clipped_B` marks rows with any token cut.
    """
    live_B, votes_BT = _votes(mask_BT, live_B)
    logps_BT = _at_least_float32(logps_BT).masked_fill(~votes_BT, 0.0)
    ratios_B = sequence_log_ratios(logps_BT, old_logps_BT, votes_BT).exp().detach()
    ratios_BT = ratios_B[:, None] * (logps_BT - logps_BT.detach()).exp()
    advantages_BT = advantages_BT.to(ratios_B.dtype).masked_fill(~votes_BT, 0.0)

    surrogate_BT, clipped_BT = _clip(ratios_BT, advantages_BT, clip_low, clip_high)
    rows_B = _over_tokens(surrogate_BT, votes_BT, aggregation, max_length)
    return GspoLoss(
        loss=-_mean_over_live(rows_B, live_B, live_total),
        ratios_B=ratios_B.masked_fill(~live_B, float("nan")),
        clipped_B=clipped_BT.any(-1) & live_B,
    )


def kl_loss(
    logps_BT: Tensor,
    old_logps_BT: Tensor,
    ref_logps_BT: Tensor,
    mask_BT: Tensor,
    *,
    aggregation: Aggregation = "sequence",
    max_length: int | None = None,
    live_B: Tensor | None = None,
    live_total: float | None = None,
    weights_BT: Tensor | None = None,
) -> Tensor:
    """KL(policy || reference) of the next-token distributions, value and gradient both unbiased.

    The tokens were drawn from the old policy, so each one's k3 is weighted by its own ratio, and
    the gradient flows through it. Without that weight k3 has the gradient of the other KL,
    KL(reference || policy); with a sequence's ratio instead, that of neither.
    """
    live_B, votes_BT = _votes(mask_BT, live_B)
    logps_BT = _at_least_float32(logps_BT).masked_fill(~votes_BT, 0.0)
    old_logps_BT = old_logps_BT.to(logps_BT.dtype).masked_fill(~votes_BT, 0.0)
    to_ref_BT = ref_logps_BT.to(logps_BT.dtype).masked_fill(~votes_BT, 0.0) - logps_BT
    k3_BT = to_ref_BT.expm1() - to_ref_BT
    kl_BT = (logps_BT - old_logps_BT).exp() * k3_BT
    if weights_BT is not None:
        kl_BT = kl_BT * weights_BT.to(kl_BT.dtype)
    return _mean_over_live(
        _over_tokens(kl_BT, votes_BT, aggregation, max_length), live_B, live_total
    )


def truncated_weights(
    old_logps_BT: Tensor, sampler_logps_BT: Tensor, mask_BT: Tensor, *, cap: float
) -> Tensor:
    """Per token old / sampler, at most `cap`: what was drawn from the sampler, weighed as if from
    the old policy. It has no gradient. Untruncated it would be exact, and of endless variance.
    """
    mask_BT = mask_BT.bool()
    old_BT = _at_least_float32(old_logps_BT.detach()).masked_fill(~mask_BT, 0.0)
    sampler_BT = sampler_logps_BT.to(old_BT.dtype).masked_fill(~mask_BT, 0.0)
    return (old_BT - sampler_BT).exp().clamp(max=cap).masked_fill(~mask_BT, 0.0)


def sequence_log_ratios(logps_BT: Tensor, old_logps_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The mean over a sequence's tokens of log(policy / old). A sequence without tokens has 0."""
    mask_BT = mask_BT.bool()
    logps_BT = _at_least_float32(logps_BT)
    # Masked before the subtraction: a NaN under the mask must not reach value or gradient.
    now_BT = logps_BT.masked_fill(~mask_BT, 0.0)
    old_BT = old_logps_BT.to(logps_BT.dtype).masked_fill(~mask_BT, 0.0)
    return (now_BT - old_BT).sum(-1) / mask_BT.sum(-1).clamp(min=1)


def _votes(mask_BT: Tensor, live_B: Tensor | None) -> tuple[Tensor, Tensor]:
    mask_BT = mask_BT.bool()
    live_B = mask_BT.new_ones(mask_BT.shape[0]) if live_B is None else live_B.bool()
    return live_B, mask_BT & live_B[:, None]


def _clip(
    ratios: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """The pessimistic surrogate, and where the window decides it (and so stops the gradient)."""
    bounded = ratios.clamp(1 - clip_low, 1 + clip_high)
    below = (ratios < 1 - clip_low) & (advantages < 0)
    above = (ratios > 1 + clip_high) & (advantages > 0)
    return torch.minimum(ratios * advantages, bounded * advantages), below | above


def _over_tokens(
    values_BT: Tensor, votes_BT: Tensor, aggregation: Aggregation, max_length: int | None
) -> Tensor:
    sums_B = values_BT.masked_fill(~votes_BT, 0.0).sum(-1)
    if aggregation == "dr_grpo":
        return sums_B / _needed(max_length)
    return sums_B / votes_BT.sum(-1).clamp(min=1)


def _mean_over_live(values_B: Tensor, live_B: Tensor, live_total: float | None) -> Tensor:
    total = float(live_B.sum()) if live_total is None else live_total
    kept = values_B.masked_fill(~live_B, 0.0).sum()
    return kept / total if total else kept * 0.0


def _needed(max_length: int | None) -> int:
    if max_length is None:
        raise ValueError(
            'max_length=None with aggregation="dr_grpo", which divides by it: the padded width'
            " changes with the batch. Pass the limit the completions were sampled with."
        )
    return max_length


def _at_least_float32(logps_BT: Tensor) -> Tensor:
    return logps_BT if logps_BT.dtype == torch.float64 else logps_BT.float()
