"""A file of weights: read whole, or refused."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.refusal import Refusal

Tensors = dict[str, Any]


def read_weights(file: Path, key: str | None) -> tuple[Tensors, dict[str, str]]:
    """The tensors, and what the file says of itself."""
    if not file.is_file():
        raise Refusal(f"--from {file}: no such file. Give a file of weights or a Llama's folder")
    if file.suffix == ".safetensors":
        tensors, says = _safetensors(file)
    else:
        tensors, says = _of_torch(file, key), {}
    for name, tensor in tensors.items():
        check_numbers(tensor, f"{name} of {file}")
    return tensors, says


def read_shards(folder: Path) -> Tensors:
    """Every tensor of a model's folder, in however many files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise Refusal(f"--from {folder}: no safetensors file there. Give a whole model's folder")
    return {name: tensor for file in files for name, tensor in _safetensors(file)[0].items()}


def check_numbers(tensor: Any, what: str) -> None:
    import torch

    if not tensor.is_floating_point():
        raise Refusal(f"{what} is of {tensor.dtype}: weights that are quantised are not converted")
    if not torch.isfinite(tensor).all():
        raise Refusal(f"{what} is not finite everywhere. Take weights from before they broke")


def _safetensors(file: Path) -> tuple[Tensors, dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            names = opened.offset_keys()
            return {name: opened.get_tensor(name) for name in names}, opened.metadata() or {}
    except SafetensorError as error:
        raise Refusal(f"{file} is damaged ({error}). Fetch or write it again") from None


def _of_torch(file: Path, key: str | None) -> Tensors:
    import torch

    try:
        held = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).strip().splitlines()[0]
        raise Refusal(
            f"--from {file}: not a torch file of weights alone ({reason}). Save the model's "
            "state_dict() by torch.save or safetensors"
        ) from None
    if key is not None:
        if not isinstance(held, Mapping) or key not in held:
            raise Refusal(f"--key {key}: nothing of that name in {file}. {_said_of(held)}")
        held = held[key]
    if not _is_weights(held):
        raise Refusal(f"--from {file}: not weights by name. {_said_of(held)}")
    return dict(held)


def _is_weights(held: object) -> bool:
    import torch

    return isinstance(held, Mapping) and all(isinstance(v, torch.Tensor) for v in held.values())


def _said_of(held: object) -> str:
    if not isinstance(held, Mapping):
        return f"It holds a {type(held).__name__}; save the model's state_dict()"
    keys = [str(name) for name, value in held.items() if _is_weights(value)]
    if keys:
        return f"Weights lie under {' and '.join(keys)}: type --key {keys[0]}"
    return "None of what it holds is weights; save the model's state_dict()"
