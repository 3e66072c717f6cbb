"""What is not finite never reaches the weights: the step is not taken, and the run ends.

A NaN that is let through is in every weight one step later, while the run goes on and is paid for.
It is found where it first shows: in a loss or gradient before a step, in a weight after it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

HALVINGS = 24
"""So often in a row may a gradient overflow float16: its scale, 2**16 at first, is halved each time
and the step is left out."""


class FiniteSteps(TrainerCallback):
    """`broken` says what was not finite: the same in every process. `way_out` is what to try.

    `anywhere` tells whether something is so in any process. With `keeps_weights` a step that broke
    them is taken back; a whole model is too large to be copied before every step.
    """

    def __init__(
        self, *, anywhere: Callable[[bool], bool], keeps_weights: bool, way_out: str
    ) -> None:
        self.broken: str | None = None
        self._way_out = way_out
        self._anywhere, self._keeps_weights = anywhere, keeps_weights
        self._losses: list[Tensor] = []
        self._overflows = 0
        self._before: list[Tensor] = []

    def watch(self, loss: Tensor) -> Tensor:
        """The loss as it is, remembered until its step; nothing waits for the device."""
        self._losses.append(loss.detach())
        return loss

    def on_pre_optimizer_step(self, args: Any, state: Any, *_: Any, **parts: Any) -> None:
        trained = _trained(parts["model"])
        gradients = [p.grad for p in trained if p.grad is not None]
        if what := self._not_finite(loss=self._losses, gradient=gradients):
            self._overflows += 1
            is_scaled = what == "gradient" and args.fp16  # its scaler leaves the step out
            if not is_scaled or self._overflows > HALVINGS:
                self.broken = (
                    f"the {what} of optimizer step {state.global_step + 1} is not finite: the step"
                    f" was not taken, and the weights are those before it. {self._way_out}"
                )
                for parameter in trained:  # which an optimizer then leaves alone
                    parameter.grad = None
        else:
            self._overflows = 0
        self._losses.clear()
        self._before = [p.detach().clone() for p in trained] if self._keeps_weights else []

    def _not_finite(self, **found: Iterable[Tensor]) -> str | None:
        """The name of the first that is not, in any process."""
        return next(
            (what for what, each in found.items() if self._anywhere(not _all_finite(each))), None
        )

    def on_optimizer_step(self, args: Any, state: Any, *_: Any, **parts: Any) -> None:
        trained = _trained(parts["model"])
        if not self._anywhere(not _all_finite(trained)):
            return
        self.broken = f"a weight is not finite after optimizer step {state.global_step + 1}"
        if self._keeps_weights:
            with torch.no_grad():
                for parameter, before in zip(trained, self._before, strict=True):
                    parameter.copy_(before)
            self.broken += (
                f": the step was taken back, and the weights are those before it. {self._way_out}"
            )
        else:
            self.broken += f": go on from an earlier checkpoint. {self._way_out}"


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    flags = [tensor.isfinite().all() for tensor in tensors]
    return not flags or bool(torch.stack(flags).all())
