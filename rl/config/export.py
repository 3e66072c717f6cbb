"""What an export is: which forms a run's policy leaves in, and on how many prompts it is proven."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from judges.config import at_least

Form = Literal["adapter", "merged", "gguf"]
Quant = Literal["q8_0", "q4_k_m"]


@dataclass(frozen=True, kw_only=True)
class Export:
    """What a run trained, as others use it: each form loaded again and held against the policy."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's folder, as in runs/NAME."""
    out: str
    """Folder that is made."""
    to: tuple[Form, ...] = ("adapter", "merged")
    """adapter is PEFT's, merged a whole model for transformers and vLLM, gguf one for llama.cpp."""
    dtype: Literal["float32", "bfloat16"] | None = None
    """Of the merged weights; None is what they were trained in."""
    quant: Quant = "q8_0"
    """Of the GGUF; q4_k_m is made by llama.cpp's own llama-quantize."""
    prompts: int = 4
    """Questions on which each form must say what the policy says."""
    new_tokens: int = 32
    """Longest answer to each."""

    def __post_init__(self) -> None:
        at_least("prompts", self.prompts, 1)
        at_least("new_tokens", self.new_tokens, 1)
        if not self.to:
            raise ValueError("to is empty: nothing would be made. Try --to adapter merged")
