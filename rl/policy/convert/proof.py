"""Whether a converted model is the source model: by its logits, or by how well it reads a text."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.config.convert import Rotary
from rl.policy.convert.llama import turned
from rl.refusal import Refusal

BOUND = {"float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}
"""Of the largest logit, by the dtype of what the source model said."""
TEXT_TOKENS = 2048
"""Of a text so many are read: enough to tell two layouts apart."""
SURE = 4.0
"""Standard errors by which the other layout must read better to be the right one."""


@dataclass(frozen=True, kw_only=True)
class LogitsProof:
    dtype: str
    farthest: float
    bound: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class TextProof:
    perplexity: float
    tokens: int


def check_logits(folder: Path, file: str, declared: Rotary) -> LogitsProof:
    import torch

    ids_BL, wanted_BLV = _said_by_source(file)
    dtype = str(wanted_BLV.dtype).removeprefix("torch.")
    model = _load(folder, dtype)
    if wanted_BLV.shape != (*ids_BL.shape, model.config.vocab_size):
        raise Refusal(
            f"--logits {file}: logits of shape {list(wanted_BLV.shape)} for input_ids of "
            f"{list(ids_BL.shape)} and a vocabulary of {model.config.vocab_size}. Save what the "
            "model returns for these very tokens"
        )
    bound = BOUND[dtype] * wanted_BLV.abs().max().item()

    def farthest() -> float:
        with torch.no_grad():
            return (model(ids_BL).logits.float() - wanted_BLV.float()).abs().max().item()

    apart = farthest()
    if apart > bound:
        _lay_out_otherwise(model, declared)
        other: Rotary = "pairs" if declared == "halves" else "halves"
        if farthest() <= bound:
            raise Refusal(_wrong_layout(declared, other, f"--logits {file} is met by {other}"))
        raise Refusal(
            f"The converted model's logits are up to {apart:.3g} from those of --logits {file}, "
            f"and {bound:.3g} is the most that {dtype} explains; neither layout of queries and "
            "keys gives them. Check --rope-theta, --eps and --head-dim"
        )
    return LogitsProof(dtype=dtype, farthest=apart, bound=bound, tokens=ids_BL.numel())


def check_text(folder: Path, text: str, declared: Rotary) -> TextProof:
    from transformers import AutoTokenizer

    try:
        words = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"--text {text}: cannot be read ({error})") from None
    ids = AutoTokenizer.from_pretrained(folder).encode(words)[:TEXT_TOKENS]
    model = _load(folder, "float32")
    if max(ids, default=0) >= model.config.vocab_size:
        raise Refusal(
            f"The tokenizer gives token {max(ids)}, and the model has {model.config.vocab_size}. "
            "Name the model's own with --tokenizer"
        )
    if len(ids) < 64:
        raise Refusal(f"--text {text}: {len(ids)} tokens say too little. Give a page of text")
    losses_T = _losses(model, ids)
    _lay_out_otherwise(model, declared)
    gain_T = losses_T - _losses(model, ids)
    perplexity = math.exp(losses_T.mean().item())
    if gain_T.mean() > SURE * gain_T.std() / math.sqrt(len(gain_T)):
        other: Rotary = "pairs" if declared == "halves" else "halves"
        read = math.exp((losses_T - gain_T).mean().item())
        raise Refusal(
            _wrong_layout(
                declared,
                other,
                f"--text has perplexity {perplexity:.4g} as {declared}, {read:.4g} as {other}",
            )
        )
    return TextProof(perplexity=perplexity, tokens=len(ids))


def _wrong_layout(declared: Rotary, other: Rotary, evidence: str) -> str:
    return (
        f"q_proj and k_proj: their rows lie in {other}, and {declared} was declared ({evidence}). "
        f"Type --rotary {other}"
    )


def _said_by_source(file: str) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        held = load_file(file)
        ids_BL, logits_BLV = held["input_ids"], held["logits"]
        BOUND[str(logits_BLV.dtype).removeprefix("torch.")]
    except (OSError, SafetensorError, KeyError) as error:
        raise Refusal(
            f"--logits {file}: no input_ids and logits in {' or '.join(BOUND)} there ({error!r}). "
            'Write them by safetensors: save_file({"input_ids": ids, "logits": model(ids)}, file)'
        ) from None
    return ids_BL, logits_BLV


def _load(folder: Path, dtype: str) -> Any:
    import torch
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


def _lay_out_otherwise(model: Any, declared: Rotary) -> None:
    """As if its queries and keys had been read the other way."""
    model.load_state_dict(turned(model.state_dict(), model.config.head_dim, to=declared))


def _losses(model: Any, ids: list[int]) -> Any:
    """Of each token, in windows of what the model sees at once."""
    import torch

    window = min(model.config.max_position_embeddings, len(ids))
    losses = []
    with torch.no_grad():
        for start in range(0, len(ids) - 1, window):
            ids_L = torch.tensor(ids[start : start + window + 1])
            logits_LV = model(ids_L[None, :-1]).logits[0]
            losses.append(torch.nn.functional.cross_entropy(logits_LV, ids_L[1:], reduction="none"))
    return torch.cat(losses)
