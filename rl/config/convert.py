"""What a conversion is: weights under other names, and what no shape tells of them."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from judges.config import above, at_least

Rotary = Literal["halves", "pairs"]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Weights of a Llama under other names, to a model's folder and back."""

    from_: Annotated[str, tyro.conf.arg(name="from")]
    """A file of weights (safetensors, or torch's), or a Llama's folder, which goes back."""
    out: str
    """Folder that is made."""
    names: str = "medslm"
    """Whose names the weights have: medslm, or a TOML file such as
    rl/policy/convert/medslm.toml."""
    key: str | None = None
    """Where a torch file holds more than weights: what they lie under."""
    tokenizer: str | None = None
    """A folder or hub id, taken along into the model's folder."""
    head_dim: int | None = None
    """Of an attention head. This and the next four no shape tells: None is what the file says of
    itself, or the names do."""
    rope_theta: float | None = None
    """Base of the rotary angles."""
    eps: float | None = None
    """Of the norms."""
    context: int | None = None
    """Longest text, in tokens."""
    rotary: Rotary | None = None
    """Which rows of a query or key head turn together: i and i + head_dim / 2, or 2i and 2i + 1."""
    logits: str | None = None
    """A safetensors file of the source model's own word: input_ids (rows, tokens) and logits (rows,
    tokens, vocabulary). The converted model must say the same."""
    text: str | None = None
    """A text to take the perplexity on; needs a tokenizer."""

    def __post_init__(self) -> None:
        for name in ("head_dim", "context"):
            if (value := getattr(self, name)) is not None:
                at_least(name, value, 1)
        above("rope_theta", self.rope_theta, 0)
        above("eps", self.eps, 0)
        if self.text and not self.tokenizer:
            raise ValueError(
                f"text is {self.text}, and there is nothing to read it with. Name the model's "
                "tokenizer with --tokenizer"
            )
