"""What Llama weights of given shapes are: its config, checked against all of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.config.convert import Rotary
from rl.policy.convert.names import EMBEDDING, HEAD, Declared
from rl.policy.convert.weights import Tensors
from rl.refusal import Refusal

Shape = tuple[int, ...]


def inferred_config(shapes: Mapping[str, Shape], declared: Declared) -> Any:
    """A `LlamaConfig`, from shapes under transformers' names."""
    from transformers import LlamaConfig

    vocabulary, width = _matrix(shapes, EMBEDDING)
    first = "model.layers.0."
    heads = _heads(shapes, f"{first}self_attn.q_proj.weight", declared.head_dim)
    kv_heads = _heads(shapes, f"{first}self_attn.k_proj.weight", declared.head_dim)
    if heads % kv_heads:
        raise Refusal(
            f"{heads} query heads do not share {kv_heads} key heads evenly: --head-dim "
            f"{declared.head_dim} is not that of this model"
        )
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=_matrix(shapes, f"{first}mlp.gate_proj.weight")[0],
        num_hidden_layers=sum(name.endswith(".input_layernorm.weight") for name in shapes),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=declared.head_dim,
        max_position_embeddings=declared.context,
        rms_norm_eps=declared.eps,
        rope_parameters={"rope_type": "default", "rope_theta": declared.rope_theta},
        tie_word_embeddings=declared.tied,
        bos_token_id=None,
        eos_token_id=None,
    )


def shell(config: Any) -> Any:
    """The model without memory for its weights."""
    import torch
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(config)


def check_shapes(
    shapes: Mapping[str, Shape], config: Any, called: Mapping[str, str], where: str
) -> None:
    """`called` is what the tensors' names are there."""
    wanted = {name: tuple(weight.shape) for name, weight in shell(config).state_dict().items()}
    if config.tie_word_embeddings:
        del wanted[HEAD]
    for name in sorted(wanted.keys() ^ shapes.keys()):
        has = "has no" if name in wanted else "has a spare"
        raise Refusal(f"{where} {has} {called.get(name, name)}: it is not a whole Llama")
    for name, shape in wanted.items():
        if shapes[name] != shape:
            raise Refusal(
                f"{called[name]} of {where} has the shape {list(shapes[name])}, and in a Llama of "
                f"its other tensors it has {list(shape)}. Check --head-dim, or whether all of it "
                "is of one model"
            )


def declared_of(folder: Path, rotary: Rotary) -> tuple[Any, Declared]:
    """Its config and what other names must say of it; refuses what they could not."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    rope = config.rope_parameters if config.model_type == "llama" else {}
    for what, value, plain in (
        ("model_type", config.model_type, "llama"),
        ("rope_type", rope.get("rope_type"), "default"),
        ("hidden_act", getattr(config, "hidden_act", None), "silu"),
    ):
        if value != plain:
            raise Refusal(
                f"--from {folder}: {what} is {value}, and other names are known for a Llama with "
                f"{plain} alone"
            )
    return config, Declared(
        tied=config.tie_word_embeddings,
        rotary=rotary,
        head_dim=config.head_dim,
        rope_theta=rope["rope_theta"],
        eps=config.rms_norm_eps,
        context=config.max_position_embeddings,
    )


def turned(tensors: Tensors, head_dim: int, *, to: Rotary) -> Tensors:
    """With queries and keys laid out the other way: transformers wants halves."""
    return {
        name: _turned(tensor, head_dim, to) if _is_rotary(name) else tensor
        for name, tensor in tensors.items()
    }


def _turned(tensor: Any, head_dim: int, to: Rotary) -> Any:
    parts = (head_dim // 2, 2) if to == "halves" else (2, head_dim // 2)
    return tensor.unflatten(0, (-1, *parts)).transpose(1, 2).reshape(tensor.shape)


def _is_rotary(name: str) -> bool:
    return name.endswith((".q_proj.weight", ".k_proj.weight"))


def _heads(shapes: Mapping[str, Shape], name: str, head_dim: int) -> int:
    rows = _matrix(shapes, name)[0]
    if rows % head_dim or head_dim % 2:
        raise Refusal(
            f"{name} has {rows} rows, which are no whole heads of {head_dim}. Give the model's own "
            "--head-dim"
        )
    return rows // head_dim


def _matrix(shapes: Mapping[str, Shape], name: str) -> tuple[int, int]:
    match shapes[name]:
        case (rows, columns):
            return rows, columns
        case shape:
            raise Refusal(f"{name} has the shape {list(shape)}: a matrix was expected")
