"""What a conversion made, of what, and how it was proven."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl.policy.convert.names import Declared
from rl.policy.convert.proof import LogitsProof, TextProof
from rl.policy.convert.weights import Tensors
from rl.policy.files import sha256


@dataclass(frozen=True, kw_only=True)
class Range:
    """Of one part of the model, over its layers: what lies far off was not meant so."""

    smallest_std: float
    largest_std: float
    largest: float


@dataclass(frozen=True, kw_only=True)
class Report:
    source: Sequence[Path]
    names: str
    declared: Declared
    config: Any
    tensors: int
    parameters: int
    ranges: dict[str, Range]
    logits: LogitsProof | None = None
    text: TextProof | None = None

    def write(self, folder: Path) -> None:
        report = {
            "from": {str(file): sha256(file) for file in self.source},
            "names": self.names,
            **asdict(self.declared),
            "tensors": self.tensors,
            "parameters": self.parameters,
            "ranges": {part: asdict(of_part) for part, of_part in self.ranges.items()},
            "logits": self.logits and asdict(self.logits),
            "text": self.text and asdict(self.text),
        }
        (folder / "conversion.json").write_text(json.dumps(report, indent=2) + "\n")

    def told(self) -> str:
        of = self.config
        lines = [
            f"{self.tensors} tensors, {self.parameters:,} parameters: Llama of "
            f"{of.num_hidden_layers} layers, width {of.hidden_size}, {of.num_attention_heads} "
            f"query and {of.num_key_value_heads} key heads of {of.head_dim}, feed-forward "
            f"{of.intermediate_size}, vocabulary {of.vocab_size}",
            *(
                f"  {part}: std {each.smallest_std:.3g} to {each.largest_std:.3g}, largest "
                f"{each.largest:.3g}"
                for part, each in self.ranges.items()
            ),
        ]
        if self.logits:
            lines.append(
                f"logits are within {self.logits.farthest:.2g} of the source model's on "
                f"{self.logits.tokens} tokens ({self.logits.dtype}; {self.logits.bound:.2g} is the "
                "most that it explains)"
            )
        if self.text:
            lines.append(
                f"perplexity {self.text.perplexity:.4g} on {self.text.tokens:,} tokens of text; "
                f"a guess has {of.vocab_size:,}"
            )
        return "\n".join(lines)


def ranges(tensors: Tensors) -> dict[str, Range]:
    parts: dict[str, list[tuple[float, float]]] = {}
    for name, tensor in tensors.items():
        part = ".".join(word for word in name.split(".")[:-1] if not word.isdigit())
        spread = tensor.float().std().item(), tensor.abs().max().item()
        parts.setdefault(part.removeprefix("model.").removeprefix("layers."), []).append(spread)
    return {
        part: Range(
            smallest_std=min(std for std, _ in of_layers),
            largest_std=max(std for std, _ in of_layers),
            largest=max(largest for _, largest in of_layers),
        )
        for part, of_layers in parts.items()
    }
