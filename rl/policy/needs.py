"""What training takes of a device, counted before any weight is read.

The model is built without weights and run once without numbers. So what its backward pass keeps is
counted and not guessed, whatever the architecture; faster kernels than those of torch keep less.
"""

from dataclasses import dataclass
from typing import Any

from rl.config import PolicyConfig
from rl.policy.load import adapted, has_cuda, linear_names, readable, weights_dtype
from rl.policy.quantised import BYTES_A_WEIGHT

_SPARE = 0.9
"""Of a device's memory; the rest is the driver's, and what falls between two blocks."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """In bytes."""

    weights: int
    """That do not learn."""
    learning: int
    """Those that do, with their gradients and the optimizer's state."""
    kept: int
    """From the forward pass of one micro-batch for its backward pass."""
    row_flops: int
    """Of the forward pass of one row. Not bytes."""

    @property
    def total(self) -> int:
        return self.weights + self.learning + self.kept


def needs(config: PolicyConfig, *, rows: int, tokens: int, moment_bytes: int = 4) -> Needs:
    """For micro-batches of `rows` rows of `tokens` tokens, and Adam's two moments in so many bytes
    a parameter."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(
            readable(config, AutoConfig), dtype=weights_dtype(config)
        )
        saved = _saved_by_quantising(base) if config.quantise else 0
        model = adapted(base, config)
    model.train()
    learns = [each for each in model.parameters() if each.requires_grad]
    learning = sum(each.nbytes for each in learns)
    backbone = base.model
    kept, flops = _forward_pass(backbone, tokens)
    head = model.get_output_embeddings().weight
    if config.gradient_checkpointing:  # and one layer at a time, all of it
        model.gradient_checkpointing_disable()
        layers = model.config.get_text_config().num_hidden_layers
        kept += _forward_pass(backbone, tokens)[0] // layers
    return Needs(
        weights=sum(each.nbytes for each in model.parameters()) - learning - saved,
        learning=2 * learning + 2 * moment_bytes * sum(each.numel() for each in learns),
        kept=kept * rows,
        row_flops=flops + 2 * tokens * head.numel(),
    )


def _saved_by_quantising(base: Any) -> int:
    """Of the projections, which alone are held in 4 bits."""
    names = set(linear_names(base))
    projections = [
        part.weight for name, part in base.named_modules() if name.rpartition(".")[2] in names
    ]
    packed = sum(int(each.numel() * BYTES_A_WEIGHT) for each in projections)
    return sum(each.nbytes for each in projections) - packed


def _forward_pass(model: Any, tokens: int) -> tuple[int, int]:
    """Of a row, on the device there is: bytes it stores beside the weights, and its FLOPs."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    kept: dict[int, Any] = {}
    device = "cuda" if has_cuda() else "cpu"
    with FakeTensorMode():
        weights = {
            name: torch.empty(
                each.shape, dtype=each.dtype, device=device, requires_grad=each.requires_grad
            )
            for name, each in (*model.named_parameters(), *model.named_buffers())
        }
        of_weights = {each.untyped_storage()._cdata for each in weights.values()}

        def keep(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            if storage._cdata not in of_weights:
                kept[storage._cdata] = storage
            return tensor

        ids_BL = torch.zeros((1, tokens), dtype=torch.long, device=device)
        inputs = {"input_ids": ids_BL, "attention_mask": torch.ones_like(ids_BL)}
        counter = FlopCounterMode(display=False)
        with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            torch.func.functional_call(model, weights, kwargs=inputs | {"use_cache": False})
    return sum(storage.nbytes() for storage in kept.values()), counter.get_total_flops()


def said_of_memory(
    need: Needs, config: PolicyConfig, *, rows: int, tokens: int, sampler_share: float = 0.0
) -> str:
    """For people, with a warning where a GPU has less. `sampler_share` of it is vLLM's."""
    import torch

    said = (
        f"training takes {_gb(need.total)} GB: weights {_gb(need.weights)}, what learns and its "
        f"optimizer {_gb(need.learning)}, kept for the backward pass of {rows} rows of {tokens:,} "
        f"tokens {_gb(need.kept)}"
    )
    if not has_cuda():
        return said
    has = torch.cuda.get_device_properties(0).total_memory
    room = has * (1 - sampler_share) * _SPARE
    if need.total <= room:
        return said
    ways = [] if config.gradient_checkpointing else ["--policy.gradient-checkpointing"]
    ways += ["fewer micro-batch rows"] if rows > 1 else []
    ways += ["a smaller --rollout.memory-share"] if sampler_share else []
    return (
        f"{said}\n  there are {_gb(room)} GB for it here. Try {', '.join(ways) or 'fewer tokens'}"
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}" if size > 5e7 else f"{size / 1e9:.2f}"
