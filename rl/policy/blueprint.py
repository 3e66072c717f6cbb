"""What a policy will be, known before a weight is read: its class, and what of it learns.

The model is built without memory for its weights and adapted by the same call as the real one. So
a wrong target or a foreign adapter is refused, and the server told what to wrap, before it starts.
"""

from dataclasses import dataclass
from typing import Any

from rl.config import PolicyConfig
from rl.policy.adapter import Shapes
from rl.policy.load import adapted, is_wrapped, linear_names, readable, template_sha


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    model_class: str
    model_type: str
    is_wrapped: bool
    """The checkpoint is of a class that has this one inside, beside a vision tower."""
    chat_template_sha: str
    lora_targets: tuple[str, ...]
    """The last names of the modules that get an adapter."""
    linear_names: tuple[str, ...]
    """What all-linear stands for."""
    adapter_shapes: Shapes
    """Of the adapter's weights, by the names they have in its file."""


def draw_blueprint(config: PolicyConfig, tokenizer: Any) -> Blueprint:
    import torch
    from peft import get_peft_model_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = readable(config, AutoConfig)
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(settings)
        linear = tuple(linear_names(base))
        model = adapted(base, config)
    weights, names = {}, []
    if config.learns == "adapter":
        weights = get_peft_model_state_dict(model, save_embedding_layers=False)
        names = model.base_model.targeted_module_names
    return Blueprint(
        model_class=type(base).__name__,
        model_type=base.config.get_text_config().model_type,
        is_wrapped=is_wrapped(settings),
        chat_template_sha=template_sha(tokenizer),
        lora_targets=tuple(sorted({name.rpartition(".")[2] for name in names})),
        linear_names=linear,
        adapter_shapes={name: tuple(weight.shape) for name, weight in weights.items()},
    )
