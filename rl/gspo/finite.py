"""What is not finite never reaches the weights: the step is not taken, and the run ends.

A NaN that is let through is in every weight one step later, while the judge is paid on. It is found
where it first shows: in a loss or gradient before a step, in a weight after it, or in a metric.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

_TRY = "Lower --gspo.learning-rate, or use --policy.dtype float32"


class FiniteSteps(TrainerCallback):
    """`broken` says what was not finite: the same in every process.

    `anywhere` tells whether something is so in any process. With `keeps_weights` a step that broke
    them is taken back; a whole model is too large to be copied before every step.
    """

    def __init__(self, *, anywhere: Callable[[bool], bool], keeps_weights: bool) -> None:
        self.broken: str | None = None
        self._anywhere, self._keeps_weights = anywhere, keeps_weights
        self._losses: list[Tensor] = []
        self._before: list[Tensor] = []

    def watch(self, loss: Tensor) -> Tensor:
        """The loss as it is, remembered until its step; nothing waits for the device."""
        self._losses.append(loss.detach())
        return loss

    def on_pre_optimizer_step(self, args: Any, state: Any, *_: Any, **parts: Any) -> None:
        trained = _trained(parts["model"])
        gradients = [p.grad for p in trained if p.grad is not None]
        for what, values in (("loss", self._losses), ("gradient", gradients)):
            if self._anywhere(not _all_finite(values)):
                self.broken = (
                    f"the {what} of optimizer step {state.global_step + 1} is not finite: the step"
                    f" was not taken, and the weights are those before it. {_TRY}"
                )
                for parameter in trained:  # which an optimizer then leaves alone
                    parameter.grad = None
                break
        self._losses.clear()
        self._before = [p.detach().clone() for p in trained] if self._keeps_weights else []

    def on_optimizer_step(self, args: Any, state: Any, *_: Any, **parts: Any) -> None:
        trained = _trained(parts["model"])
        if not self._anywhere(not _all_finite(trained)):
            return
        self.broken = f"a weight is not finite after optimizer step {state.global_step + 1}"
        if self._keeps_weights:
            with torch.no_grad():
                for parameter, before in zip(trained, self._before, strict=True):
                    parameter.copy_(before)
            self.broken += f": the step was taken back, and the weights are those before it. {_TRY}"
        else:
            self.broken += f": go on from an earlier checkpoint. {_TRY}"


def broken_metric(row: Mapping[str, object]) -> str | None:
    """Why a run must stop whose metrics hold a number that is none."""
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            way_out = _TRY
            if "sampler" in name:
                way_out = (
                    "The sampler's log-probs are no numbers: look at its log, and try"
                    " --rollout.engine transformers"
                )
            return f"{name} is {value} in generation {row['generation']}. {way_out}"
    return None


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    flags = [tensor.isfinite().all() for tensor in tensors]
    return not flags or bool(torch.stack(flags).all())
