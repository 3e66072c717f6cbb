"""The model that learns: its weights, tokenizer, a LoRA adapter, and what exactly was loaded."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rl.config import PolicyConfig
from rl.config.shared import ALL_LINEAR
from rl.policy.adapter import BASE, adapter_folder
from rl.policy.models import WHOLE, resolve_model
from rl.policy.quantised import check_bitsandbytes, keep_differentiable, nf4_settings
from rl.policy.templates import read_template
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What an adapter must be put on again: the same weights in another class take no adapter."""

    source: str
    folder: str
    model_class: str
    is_wrapped: bool
    """The checkpoint's own class has this one inside, beside a vision tower."""
    dtype: str
    device: str
    chat_template_sha: str
    adapter: str | None
    """What was gone on from."""
    quantise: str | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    model: Any
    """A PEFT model, of the base and the adapter that learns, or the whole model where it learns."""
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

    @property
    def has_adapter(self) -> bool:
        return hasattr(self.model, "peft_config")

    @property
    def base(self) -> Any:
        """The model without what is around it."""
        return self.model.get_base_model() if self.has_adapter else self.model

    @property
    def parameters(self) -> dict[str, int]:
        """How many learn, and of how many, as a summary names it."""
        return counted(self.model)

    def told(self) -> str:
        """For the person who starts a run."""
        loaded, (trained, of) = self.loaded, self.parameters.values()
        begun = f", from the adapter {loaded.adapter}" if loaded.adapter else ""
        kept = f", {loaded.quantise}" if loaded.quantise else ""
        return (
            f"policy {loaded.source} ({loaded.device}, {loaded.dtype}{kept}){begun}: {trained:,} "
            f"parameters learn ({trained / of:.2%})"
        )

    def save(self, run: Path) -> None:
        """What learnt, in a run's folder: `adapter`, or a whole `model`."""
        if self.has_adapter:
            self.save_adapter(run / "adapter")
        else:
            self._save_model(run / WHOLE)

    def take_over(self, checkpoint: Path) -> None:
        """Go back, or on, to what had been learnt in a checkpoint."""
        if self.has_adapter:
            self.load_adapter(checkpoint)
        else:
            found = type(self.model).from_pretrained(checkpoint, dtype=self.model.dtype)
            self.model.load_state_dict(found.state_dict())

    def _save_model(self, folder: Path) -> None:
        with _refusing_a_full_disk(folder):
            self.model.save_pretrained(str(folder))
            self.tokenizer.save_pretrained(str(folder))
        self.write_base(folder)

    def load_adapter(self, folder: Path) -> None:
        """Take the weights of an adapter of the same shape over."""
        found = self.model.load_adapter(str(folder), "default", is_trainable=True)
        if lost := [*found.missing_keys, *found.unexpected_keys]:
            raise Refusal(
                f"{folder} is not this policy's adapter: {lost[0]} has no counterpart. Give the "
                "adapter that was trained on this model, as it is loaded here"
            )

    def save_adapter(self, folder: Path) -> None:
        """The adapter as PEFT and vLLM read it, and beside it what it belongs to."""
        with _refusing_a_full_disk(folder):
            self.model.save_pretrained(str(folder))
        self.write_base(folder)

    def write_base(self, folder: Path) -> None:
        """What the adapter in that folder belongs to, or the model there was made of."""
        (folder / BASE).write_text(json.dumps(asdict(self.loaded), indent=2) + "\n")


@contextlib.contextmanager
def _refusing_a_full_disk(folder: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:  # what it makes of one
        raise Refusal(f"{folder} cannot be written to ({error}). Make room there") from error


def counted(model: Any) -> dict[str, int]:
    """By PEFT, where there is an adapter: weights of 4 bits are packed, two in a byte."""
    if hasattr(model, "peft_config"):
        trained, of = model.get_nb_trainable_parameters()
    else:
        trained = of = sum(each.numel() for each in model.parameters())
    return {"parameters_trained": trained, "parameters": of}


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def load_tokenizer(config: PolicyConfig) -> Any:
    """The tokenizer alone: prompts can be checked before any weight is read."""
    tokenizer = read_tokenizer(config)
    if not tokenizer.chat_template:
        raise Refusal(
            f"policy.model={config.model!r} has no chat template. Use an instruct model, or give "
            "one with --policy.chat-template"
        )
    return tokenizer


def read_tokenizer(config: PolicyConfig) -> Any:
    """Also of a model that knows no chat."""
    from transformers import AutoTokenizer

    tokenizer = readable(config, AutoTokenizer)
    if config.chat_template:
        tokenizer.chat_template = read_template(config.chat_template)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def context_window(config: PolicyConfig) -> int:
    """Longest prompt and completion together, in tokens."""
    from transformers import AutoConfig

    settings = readable(config, AutoConfig).get_text_config()
    return settings.max_position_embeddings


def check_device(config: PolicyConfig) -> None:
    """Refuse what this machine cannot compute in."""
    if config.quantise:
        check_bitsandbytes(f"policy.quantise {config.quantise}")
    if resolved_dtype(config) == "float16" and not has_cuda():
        raise Refusal(
            "policy.dtype is float16, whose losses are scaled on a GPU alone, and there is none "
            "here. Type --policy.dtype auto"
        )


def load_policy(config: PolicyConfig, tokenizer: Any, seed: int) -> Policy:
    """Weights on the device as they are asked for, with a new adapter or the one named, if any."""
    from transformers import AutoConfig, AutoModelForCausalLM, set_seed

    set_seed(seed)
    device = "cuda" if has_cuda() else "cpu"
    dtype = weights_dtype(config)
    if config.quantise:  # its loader finds the device itself
        settings = nf4_settings(dtype)
        base = readable(config, AutoModelForCausalLM, dtype=dtype, quantization_config=settings)
        keep_differentiable(base)
    else:
        base = readable(config, AutoModelForCausalLM, dtype=dtype).to(device)
    policy = Policy(
        model=adapted(base, config),
        tokenizer=tokenizer,
        loaded=Loaded(
            source=config.model,
            folder=resolve_model(config.model),
            model_class=type(base).__name__,
            is_wrapped=is_wrapped(readable(config, AutoConfig)),
            dtype=resolved_dtype(config),
            device=device,
            chat_template_sha=template_sha(tokenizer),
            adapter=config.adapter,
            quantise=config.quantise,
        ),
    )
    if config.adapter:
        policy.load_adapter(adapter_folder(config.adapter))
    return policy


def adapted(base: Any, config: PolicyConfig) -> Any:
    """The model with an adapter that does nothing yet; nothing else of it learns.

    Or the model as it is, where its own weights are what learns.
    """
    if config.learns == "weights":
        return _frugal(base, config)
    from peft import get_peft_model

    lora = _lora_config(config)
    has = f"This model has: {', '.join(linear_names(base))}, or all of them: all-linear"
    try:
        model = get_peft_model(base, lora)
    except ValueError as error:
        given = f"policy.lora_targets={' '.join(config.lora_targets)}"
        if config.adapter:
            given = f"policy.adapter={config.adapter!r}"
        raise Refusal(f"{given}: {error} {has}") from None
    if not config.adapter and config.lora_targets != (ALL_LINEAR,):
        names = model.base_model.targeted_module_names
        for target in config.lora_targets:  # PEFT is content where one of them is found
            if not any(f".{name}".endswith(f".{target}") for name in names):
                raise Refusal(f"policy.lora_targets: no module is called {target!r}. {has}")
    return _frugal(model, config)


def _frugal(model: Any, config: PolicyConfig) -> Any:
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def _lora_config(config: PolicyConfig) -> Any:
    """Of a new adapter, or what the one to go on from was made with."""
    from peft import LoraConfig

    if config.adapter:
        lora = LoraConfig.from_pretrained(str(adapter_folder(config.adapter)))
        lora.inference_mode, lora.lora_dropout = False, config.lora_dropout
        lora.base_model_name_or_path = None  # is that of the model it is put on
        return lora
    is_all = config.lora_targets == (ALL_LINEAR,)
    return LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        # of the text class that is trained, so a vision tower is not among them
        target_modules=ALL_LINEAR if is_all else list(config.lora_targets),
        task_type="CAUSAL_LM",
    )


def is_wrapped(settings: Any) -> bool:
    """Whether a checkpoint's config is of a class that has the language model inside."""
    return settings.get_text_config() is not settings


def template_sha(tokenizer: Any) -> str:
    return hashlib.sha256((tokenizer.chat_template or "").encode()).hexdigest()[:12]


def resolved_dtype(config: PolicyConfig) -> str:
    if config.dtype != "auto":
        return config.dtype
    return "bfloat16" if has_cuda() else "float32"


def weights_dtype(config: PolicyConfig) -> Any:
    """An update is smaller than what bfloat16 can tell apart, so weights that learn are float32."""
    import torch

    return torch.float32 if config.learns == "weights" else getattr(torch, resolved_dtype(config))


def readable(config: PolicyConfig, loader: Any, **options: Any) -> Any:
    """What `loader` reads of the policy's model."""
    try:
        return loader.from_pretrained(resolve_model(config.model), **options)
    except OSError as error:
        first_line = str(error).strip().splitlines()[0]
        raise Refusal(
            f"policy.model={config.model!r} cannot be loaded: {first_line} Give a folder, a hub id "
            "(with a network), or smollm2-135m"
        ) from None


def linear_names(model: Any) -> list[str]:
    """The last names of a language model's projections, its head aside."""
    import torch

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, part in model.named_modules()
            if isinstance(part, torch.nn.Linear) and part is not head
        }
    )
