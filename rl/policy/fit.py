"""Whether an adapter fits the policy it is to be loaded into.

PEFT loads the part that fits and warns of the rest, and a server takes it all and may use nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.config import PolicyConfig
from rl.config.shared import ALL_LINEAR
from rl.policy.adapter import BASE, adapter_folder, lora_settings, shapes_in
from rl.policy.blueprint import Blueprint, draw_blueprint
from rl.refusal import Refusal


def checked_blueprint(config: PolicyConfig, tokenizer: Any) -> Blueprint:
    """What will be trained; refuses targets that are none, and an adapter that does not fit."""
    blueprint = draw_blueprint(config, tokenizer)
    if config.adapter:
        check_adapter(adapter_folder(config.adapter), config, blueprint)
    return blueprint


def check_adapter(folder: Path, config: PolicyConfig, blueprint: Blueprint) -> None:
    """Refuse what would be loaded in part, or onto another model than it was trained on."""
    is_all = config.lora_targets == (ALL_LINEAR,)
    targets = blueprint.linear_names if is_all else config.lora_targets
    asked = {
        "lora_rank": config.lora_rank,
        "lora_alpha": config.lora_alpha,
        "lora_targets": tuple(sorted({target.rpartition(".")[2] for target in targets})),
    }
    for name, wanted in lora_settings(folder).items():
        given = asked[name]
        if given != wanted:
            flag = f"--policy.{name.replace('_', '-')}"
            raise Refusal(
                f"policy.{name} is {_told(given)} and that of {folder} is {_told(wanted)}: an "
                f"adapter keeps its own settings. Leave {flag} out, or type {flag} {_told(wanted)}"
            )
    _check_base(folder, config, blueprint)
    _check_shapes(folder, blueprint)


def _check_base(folder: Path, config: PolicyConfig, blueprint: Blueprint) -> None:
    """By what was written beside it. An adapter from elsewhere has nothing there."""
    file = folder / BASE
    if not file.is_file():
        return
    try:
        base: Mapping[str, str] = json.loads(file.read_text(encoding="utf-8"))
        source, place = base["source"], base["folder"]
        model_class, template = base["model_class"], base["chat_template_sha"]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{file} does not say what the adapter belongs to ({error!r}). Delete it, and the "
            "adapter is taken where all of its weights fit"
        ) from None
    if config.model not in (source, place):
        raise Refusal(
            f"{folder} was trained on {source}, and policy.model is {config.model}. Type "
            f"--policy.model {source}; where the two are the same weights, change the source in "
            f"{file}"
        )
    if blueprint.model_class != model_class:
        raise Refusal(
            f"{folder} was trained on {model_class}, and {config.model} is loaded as "
            f"{blueprint.model_class}, whose layers have other names. Take an adapter that was "
            "trained on that"
        )
    if blueprint.chat_template_sha != template:
        raise Refusal(
            f"{folder} was trained with another chat template than that of {config.model}, so its "
            "prompts were others. Put back the template it was trained with; where the new one is "
            f"meant, change chat_template_sha in {file} to {blueprint.chat_template_sha}"
        )


def _check_shapes(folder: Path, blueprint: Blueprint) -> None:
    found, wanted = shapes_in(folder), blueprint.adapter_shapes
    if more := [key for key in found if not key.endswith((".lora_A.weight", ".lora_B.weight"))]:
        raise Refusal(
            f"{folder} has more than the two matrices of LoRA for a layer ({more[0]}), which could "
            "not be served while it is trained. Merge it into its base, and name that as "
            "--policy.model"
        )
    for what, names in (
        ("has nothing for", wanted.keys() - found.keys()),
        ("has what nothing takes", found.keys() - wanted.keys()),
        ("has another shape for", {n for n in wanted.keys() & found if wanted[n] != found[n]}),
    ):
        if names:
            raise Refusal(
                f"{folder} does not fit {blueprint.model_class}: it {what} "
                f"({len(names)}, first {min(names)}). It was trained on another class or size of "
                "model; give the --policy.model it belongs to"
            )


def _told(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)
