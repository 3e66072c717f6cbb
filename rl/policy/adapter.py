"""An adapter in its folder: where it lies, and what can be told of it without loading it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from rl.config import PolicyConfig
from rl.policy.models import WHOLE
from rl.refusal import Refusal

WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
BASE = "base.json"

Shapes = dict[str, tuple[int, ...]]
"""Of weights, by name."""


def adapter_folder(name: str) -> Path:
    """Where the adapter itself lies: in that folder, or in the one a run left there."""
    folder = Path(name).expanduser()
    for place in (folder, folder / "adapter"):
        if (place / SETTINGS).is_file() and (place / WEIGHTS).is_file():
            return place
    if (folder / WHOLE / "config.json").is_file():
        raise Refusal(
            f"policy.adapter={name!r}: that run learnt a whole model, not an adapter. Type "
            f"--policy.model {name}"
        )
    raise Refusal(
        f"policy.adapter={name!r}: no adapter there ({SETTINGS} and {WEIGHTS}). Name its folder, a "
        "run's, as in runs/NAME, or a checkpoint's, as in runs/NAME/checkpoints/generation-000010"
    )


def with_adapters_lora(config: PolicyConfig, adapter: str) -> PolicyConfig:
    """The config with the LoRA settings of `adapter`, which may not have been made yet."""
    try:
        folder = adapter_folder(adapter)
    except Refusal:
        return config
    return dataclasses.replace(config, **lora_settings(folder))


def lora_settings(folder: Path) -> dict[str, Any]:
    """As `PolicyConfig` has them. What is adapted is read off the weights: settings may hold a
    pattern, or names that matched nothing."""
    modules = {key.rpartition(".lora_")[0] for key in shapes_in(folder) if ".lora_" in key}
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if settings["peft_type"] != "LORA":
            raise ValueError(f"peft_type {settings['peft_type']}")
        return {
            "lora_rank": settings["r"],
            "lora_alpha": settings["lora_alpha"],
            "lora_targets": tuple(sorted({module.rpartition(".")[2] for module in modules})),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(
            f"{folder / SETTINGS} does not describe a LoRA adapter ({error!r}), and no other kind "
            "is trained here. Name another folder with --policy.adapter"
        ) from None


def shapes_in(folder: Path) -> Shapes:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, framework="np") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.offset_keys()}
    except SafetensorError as error:
        raise Refusal(f"{folder / WEIGHTS} is damaged ({error})") from None
