"""Log-probabilities of given tokens straight from hidden states; the logits never exist whole.

Only scored positions reach the vocabulary, a tile of them at a time. Where the head is frozen (any
LoRA run) the forward also keeps d(log-prob)/d(hidden), one row a token, so that the backward is a
multiplication: two products with the vocabulary a token instead of the three of a recomputing head.
"""

import functools
import types
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# Logits held at once: 64 MB in float32; on a GPU, where each tile reads the whole head, 256 MB.
TILE_ELEMENTS = 2**24
CUDA_TILE_ELEMENTS = 2**26

# What a model may do to its logits beyond the head, with the value that means "nothing".
_BENDS = {
    "final_logit_softcapping": None,
    "logit_scale": 1.0,
    "output_multiplier": 1.0,
    "lm_head_multiplier": 1.0,
    "logits_scaling": 1.0,
}
NOT_SCORED = -100


def attach_token_head(model: nn.Module, *, temperature: float) -> None:
    """Teach a causal language model `model(..., targets_BL=...)`.

    The call returns `{"logps_N", "entropies_N"}` for the positions whose target is not
    `NOT_SCORED`, in reading order, under the distribution at `temperature`. Every other call is as
    before. It is a patch of `forward`, so that wrappers (PEFT, DDP) see their own forward called.
    """
    _refuse_bent_logits(model.config)
    untouched = model.forward

    @functools.wraps(type(model).forward)
    def forward(self: Any, *args: Any, targets_BL: Tensor | None = None, **kwargs: Any) -> Any:
        if targets_BL is None:
            return untouched(*args, **kwargs)
        hidden_BLH = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state
        head = self.get_output_embeddings()
        scored_BL = targets_BL != NOT_SCORED
        logps_N, entropies_N = token_logps(
            hidden_BLH[scored_BL], head.weight, head.bias, targets_BL[scored_BL], 1 / temperature
        )
        return {"logps_N": logps_N, "entropies_N": entropies_N}

    model.forward = types.MethodType(forward, model)


def refuse_adapted_head(model: nn.Module) -> None:
    """The head's weight is used as it is: an adapter on it would sample and never train."""
    if hasattr(model.get_output_embeddings(), "lora_A"):
        raise ValueError(
            "policy.lora_targets has lm_head, where an adapter would not be trained: the"
            " log-probabilities come from the head's own weight. Type --policy.lora-targets without"
            " lm_head"
        )


def token_logps(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Log-probabilities, and entropies without gradient, of softmax(scale * hidden @ weight.T)."""
    trains_head = torch.is_grad_enabled() and (
        weight_VH.requires_grad or (bias_V is not None and bias_V.requires_grad)
    )
    dtype, tile = _compute_dtype(hidden_NH), _tile_tokens(weight_VH)
    # Autocast says what the products are made of; what comes of them it would narrow again.
    with torch.autocast(hidden_NH.device.type, enabled=False):
        if not trains_head:
            return _FrozenHead.apply(hidden_NH, weight_VH.to(dtype), bias_V, targets_N, scale)
        parts = [
            checkpoint(
                _dense, hidden, weight_VH, bias_V, targets, scale, dtype, use_reentrant=False
            )
            for hidden, targets in zip(hidden_NH.split(tile), targets_N.split(tile), strict=True)
        ]
    return torch.cat([logps for logps, _ in parts]), torch.cat([entropy for _, entropy in parts])


class _FrozenHead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        scale: float,
    ) -> tuple[Tensor, Tensor]:
        wants_grad = ctx.needs_input_grad[0]
        dtype = weight_VH.dtype
        logps_N = hidden_NH.new_empty(len(hidden_NH), dtype=torch.float32)
        entropies_N = torch.empty_like(logps_N)
        slopes_NH = torch.empty_like(hidden_NH) if wants_grad else None
        tile = _tile_tokens(weight_VH)
        for start in range(0, len(hidden_NH), tile):
            here = slice(start, start + tile)
            targets_n1 = targets_N[here, None]
            shifted_nV = _float32_logits(hidden_NH[here].to(dtype), weight_VH)
            if bias_V is not None:
                shifted_nV.add_(bias_V)
            shifted_nV.mul_(scale)
            shifted_nV.sub_(shifted_nV.amax(-1, keepdim=True))
            target_n1 = shifted_nV.gather(-1, targets_n1)
            chances_nV = shifted_nV.exp()
            mass_n1 = chances_nV.sum(-1, keepdim=True)
            log_mass_n1 = mass_n1.log()
            logps_N[here] = (target_n1 - log_mass_n1).squeeze(-1)
            chances_nV.div_(mass_n1)
            mean_n = torch.linalg.vecdot(chances_nV, shifted_nV)
            entropies_N[here] = log_mass_n1.squeeze(-1) - mean_n
            if slopes_NH is not None:
                # One minus the target's chance in float32: near certainty, bfloat16 would lose it.
                chances_nV.scatter_add_(-1, targets_n1, torch.full_like(mass_n1, -1.0))
                slopes_NH[here] = torch.mm(chances_nV.to(dtype), weight_VH).mul_(-scale)
        ctx.mark_non_differentiable(entropies_N)
        ctx.save_for_backward(slopes_NH)
        return logps_N, entropies_N

    @staticmethod
    def backward(ctx: Any, grad_N: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (slopes_NH,) = ctx.saved_tensors
        grad_NH = (slopes_NH * grad_N[:, None]).to(slopes_NH.dtype)
        return grad_NH, None, None, None, None


def _dense(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    scale: float,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    logits_NV = _TrainedLogits.apply(hidden_NH.to(dtype), weight_VH.to(dtype))
    if bias_V is not None:
        logits_NV = logits_NV + bias_V
    log_chances_NV = (logits_NV * scale).log_softmax(-1)
    logps_N = log_chances_NV.gather(-1, targets_N[:, None]).squeeze(-1)
    with torch.no_grad():
        entropies_N = -(log_chances_NV.exp() * log_chances_NV).sum(-1)
    return logps_N, entropies_N


class _TrainedLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_NH: Tensor, weight_VH: Tensor) -> Tensor:
        ctx.save_for_backward(hidden_NH, weight_VH)
        return _float32_logits(hidden_NH, weight_VH)

    @staticmethod
    def backward(ctx: Any, grad_NV: Tensor) -> tuple[Tensor, Tensor]:
        hidden_NH, weight_VH = ctx.saved_tensors
        grad_NV = grad_NV.to(hidden_NH.dtype)
        return grad_NV @ weight_VH, grad_NV.t() @ hidden_NH


def _float32_logits(hidden_NH: Tensor, weight_VH: Tensor) -> Tensor:
    """hidden @ weight.T, rounded to float32 at most: in bfloat16 a logit of 20 is off by 0.06."""
    if hidden_NH.dtype not in (torch.bfloat16, torch.float16):
        return torch.mm(hidden_NH, weight_VH.t()).float()
    if hidden_NH.is_cuda:
        return torch.mm(hidden_NH, weight_VH.t(), out_dtype=torch.float32)
    # Nowhere else can a product be wider than its factors: a slice of the head is, in turn.
    wide_NH = hidden_NH.float()
    slices = weight_VH.split(max(1, TILE_ELEMENTS // weight_VH.shape[1]))
    return torch.cat([torch.mm(wide_NH, part_vH.float().t()) for part_vH in slices], dim=1)


def _compute_dtype(hidden_NH: Tensor) -> torch.dtype:
    device = hidden_NH.device.type
    return (
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NH.dtype
    )


def _tile_tokens(weight_VH: Tensor) -> int:
    elements = CUDA_TILE_ELEMENTS if weight_VH.is_cuda else TILE_ELEMENTS
    return max(1, elements // weight_VH.shape[0])


def _refuse_bent_logits(config: Any) -> None:
    text = config.get_text_config()
    for name, nothing in _BENDS.items():
        value = getattr(text, name, None)
        if value is not None and value != nothing:
            raise ValueError(
                f"The policy's config has {name}={value!r}: its logits are not just the head's"
                " product, and log-probabilities computed from the head would be wrong."
                " Choose a model without it."
            )
