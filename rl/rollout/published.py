"""The adapter as vLLM reads it.

A checkpoint with a vision tower is trained as its language model alone, and served as what it is.
There the layers have longer names, and an adapter's keys that match none of them are not missed.
"""

import os
from pathlib import Path

from rl.policy.adapter import WEIGHTS
from rl.policy.load import Policy

_ALONE = "base_model.model.model."
_WRAPPED = "base_model.model.model.language_model."


def save_for_vllm(policy: Policy, folder: Path) -> None:
    policy.save_adapter(folder)
    if policy.loaded.is_wrapped:
        rename_for_wrapped(folder)


def rename_for_wrapped(adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(adapter / WEIGHTS)
    renamed = {_WRAPPED + key.removeprefix(_ALONE): tensors[key] for key in tensors}
    # not over the file itself, which `tensors` may still be read from
    save_file(renamed, adapter / f"{WEIGHTS}.part")
    os.replace(adapter / f"{WEIGHTS}.part", adapter / WEIGHTS)
