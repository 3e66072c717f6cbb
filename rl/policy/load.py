"""The model that learns: base weights, tokenizer, a LoRA adapter, and what exactly was loaded."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl.config import PolicyConfig
from rl.policy.models import resolve_model
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What an adapter must be put on again: the same weights in another class take no adapter."""

    source: str
    folder: str
    model_class: str
    dtype: str
    device: str
    chat_template_sha: str


@dataclass(frozen=True, kw_only=True)
class Policy:
    model: Any
    """A PEFT model; its base is the reference policy."""
    tokenizer: Any
    loaded: Loaded

    def logprobs(self, token_ids: Sequence[int], *, adapter: bool = True) -> list[float]:
        """Of each token after the first, given those before it."""
        import torch

        ids_1L = torch.tensor([token_ids], device=self.model.device)
        without = contextlib.nullcontext() if adapter else self.model.disable_adapter()
        with torch.no_grad(), without:
            logits_LV = self.model(ids_1L).logits[0, :-1].float()
        return logits_LV.log_softmax(-1).gather(1, ids_1L[0, 1:, None]).squeeze(1).tolist()

    def load_adapter(self, folder: Path) -> None:
        """Take the weights of an adapter of the same shape over."""
        self.model.load_adapter(str(folder), "default", is_trainable=True)

    def save_adapter(self, folder: Path) -> None:
        """The adapter as PEFT and vLLM read it, and beside it what it belongs to."""
        from safetensors import SafetensorError

        try:
            self.model.save_pretrained(str(folder))
        except SafetensorError as error:  # what it makes of a full disk
            raise Refusal(f"{folder} cannot be written to ({error}). Make room there") from error
        (folder / "base.json").write_text(json.dumps(asdict(self.loaded), indent=2) + "\n")


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def load_tokenizer(config: PolicyConfig) -> Any:
    """The tokenizer alone: prompts can be checked before any weight is read."""
    from transformers import AutoTokenizer

    tokenizer = _readable(config, AutoTokenizer)
    if not tokenizer.chat_template:
        raise Refusal(
            f"policy.model={config.model!r} has no chat template. Use an instruct model, or a "
            "folder whose tokenizer has one"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def context_window(config: PolicyConfig) -> int:
    """Longest prompt and completion together, in tokens."""
    from transformers import AutoConfig

    settings = _readable(config, AutoConfig).get_text_config()
    return settings.max_position_embeddings


def load_policy(config: PolicyConfig, tokenizer: Any, seed: int) -> Policy:
    """Base weights on the device, in the dtype asked for, with a fresh adapter."""
    import hashlib

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, set_seed

    set_seed(seed)
    device = "cuda" if has_cuda() else "cpu"
    dtype = resolved_dtype(config)
    base = _readable(config, AutoModelForCausalLM, dtype=getattr(torch, dtype)).to(device)
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=0.0,
        target_modules=list(config.lora_targets),
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(base, lora)
    except ValueError as error:
        raise Refusal(
            f"policy.lora_targets={' '.join(config.lora_targets)}: {error} "
            f"This model has: {', '.join(_linear_names(base))}"
        ) from None
    return Policy(
        model=model,
        tokenizer=tokenizer,
        loaded=Loaded(
            source=config.model,
            folder=resolve_model(config.model),
            model_class=type(base).__name__,
            dtype=dtype,
            device=device,
            chat_template_sha=hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()[:12],
        ),
    )


def resolved_dtype(config: PolicyConfig) -> str:
    if config.dtype != "auto":
        return config.dtype
    return "bfloat16" if has_cuda() else "float32"


def _readable(config: PolicyConfig, loader: Any, **options: Any) -> Any:
    try:
        return loader.from_pretrained(resolve_model(config.model), **options)
    except OSError as error:
        first_line = str(error).strip().splitlines()[0]
        raise Refusal(
            f"policy.model={config.model!r} cannot be loaded: {first_line} Give a folder, a hub id "
            "(with a network), or smollm2-135m"
        ) from None


def _linear_names(model: Any) -> list[str]:
    import torch

    return sorted(
        {
            name.rpartition(".")[2]
            for name, part in model.named_modules()
            if isinstance(part, torch.nn.Linear)
        }
    )
