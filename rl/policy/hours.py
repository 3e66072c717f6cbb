"""How long computing will take: what there is to multiply and read, at this device's own pace."""

import time
from dataclasses import dataclass
from typing import Any

from rl.config import PolicyConfig
from rl.policy.load import resolved_dtype
from rl.policy.needs import Needs

TRAINED, DECODED = 0.4, 0.5
"""Of the pace of a lone multiplication a training pass reaches about so much, and of that of a lone
copy a decoding one: a model has small parts too."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    flops_per_s: float
    bytes_per_s: float


def measured_pace(dtype: Any) -> Pace:
    """Of one large multiplication and one large copy, on the device there is."""
    import torch

    on_gpu = torch.cuda.is_available()
    device, side, copied = ("cuda", 8192, 2**30) if on_gpu else ("cpu", 1024, 2**27)
    matrix = torch.ones((side, side), dtype=dtype, device=device)
    block = torch.zeros(copied, dtype=torch.uint8, device=device)

    def fastest_s(work: Any) -> float:
        took_s: list[float] = []
        for _ in range(4):
            begun = time.perf_counter()
            work()
            if on_gpu:
                torch.cuda.synchronize()
            took_s.append(time.perf_counter() - begun)
        return min(took_s)

    return Pace(
        flops_per_s=2 * side**3 / fastest_s(lambda: matrix @ matrix),
        bytes_per_s=2 * copied / fastest_s(block.clone),
    )


def said_of_hours(
    need: Needs,
    config: PolicyConfig,
    *,
    rows: int,
    passes_without_gradient: int = 0,
    tokens_sampled: int = 0,
) -> str:
    """`rows` of a run; `tokens_sampled` one after another, any number of rows beside each other."""
    import torch

    pace = measured_pace(getattr(torch, resolved_dtype(config)))
    # Frozen weights need no gradient, so that the way back is one more pass, not two.
    way_back = 2 if config.learns == "weights" else 1
    passes = 1 + way_back + config.gradient_checkpointing + passes_without_gradient
    update_s = rows * passes * need.row_flops / (TRAINED * pace.flops_per_s)
    sampling_s = tokens_sampled * need.weights / (DECODED * pace.bytes_per_s)
    parts = f"update {_span(update_s)}"
    parts += f", sampling {_span(sampling_s)}" if tokens_sampled else ""
    return (
        f"computing takes about {_span(update_s + sampling_s)} if every row has its full length "
        f"({parts}): {TRAINED:.0%} of the {pace.flops_per_s / 1e12:.3g} TFLOP/s and {DECODED:.0%} "
        f"of the {pace.bytes_per_s / 1e9:.3g} GB/s of this device"
    )


def _span(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{max(seconds / 60, 1):.0f} min"
