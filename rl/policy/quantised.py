"""A base in 4 bits, as QLoRA has it: normal floats in blocks, whose constants are quantised too."""

import importlib.util
from typing import Any

from rl.refusal import Refusal

BYTES_A_WEIGHT = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Four bits, one constant of 8 for a block of 64, and one of 32 for 256 of these."""


def nf4_settings(dtype: Any) -> Any:
    """What `from_pretrained` is told. `dtype` is what the weights are multiplied in."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def keep_differentiable(model: Any) -> None:
    """On some CPUs a first forward pass without gradients would repack the weights for inference,
    and passes with them would then have none to hand on."""
    for part in model.modules():
        if hasattr(part, "support_avx512bf16_for_cpu"):
            part.support_avx512bf16_for_cpu = False


def check_bitsandbytes(setting: str) -> None:
    """Refuse a setting that needs the package where it is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise Refusal(f"{setting} needs bitsandbytes. Type: pip install 'bitsandbytes>=0.49'")
