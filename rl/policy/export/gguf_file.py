"""A Llama as a GGUF file for llama.cpp."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from rl.config.export import Quant
from rl.policy.convert.llama import turned
from rl.policy.export.gguf_words import add_words, rule_of
from rl.refusal import Refusal

QUANTIZE = "llama-quantize"
BITS = {"q8_0": 8.5, "q4_k_m": 32 + 5}
"""Of each weight while it is made: q4_k_m goes by way of float32."""


def check_gguf(model_type: str, tokenizer: Any, quant: Quant) -> None:
    """Refuse what could not be made, or not tried when it is."""
    from importlib.util import find_spec

    if model_type != "llama":
        raise Refusal(
            f"--to gguf: the policy is of type {model_type}, and only a llama is written here. "
            "Take --to merged, and llama.cpp's own convert_hf_to_gguf.py"
        )
    rule_of(tokenizer)
    if find_spec("xllamacpp") is None:
        raise Refusal(
            "--to gguf: what is written is tried by llama.cpp, which is not installed. Type: pip "
            "install xllamacpp"
        )
    if quant == "q4_k_m" and shutil.which(QUANTIZE) is None:
        raise Refusal(
            f"--quant q4_k_m is made by llama.cpp's own {QUANTIZE}, which is not on the path. "
            "Install llama.cpp, or take --quant q8_0"
        )


def write_gguf(model: Any, tokenizer: Any, file: Path, quant: Quant) -> None:
    if quant == "q8_0":
        _write(model, tokenizer, file, is_quantised=True)
        return
    whole = file.with_name("float32.gguf")
    _write(model, tokenizer, whole, is_quantised=False)
    done = subprocess.run(
        [QUANTIZE, whole, file, quant.upper()], capture_output=True, text=True, check=False
    )
    whole.unlink()
    if done.returncode:
        raise Refusal(f"{QUANTIZE} ended with {done.returncode}: {done.stderr.strip()[-300:]}")


def _write(model: Any, tokenizer: Any, file: Path, *, is_quantised: bool) -> None:
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name(file.stem)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    kind = gguf.LlamaFileType.MOSTLY_Q8_0 if is_quantised else gguf.LlamaFileType.ALL_F32
    writer.add_file_type(kind)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_words(writer, tokenizer, config.vocab_size)
    _add_tensors(writer, model, is_quantised)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensors(writer: Any, model: Any, is_quantised: bool) -> None:
    import gguf
    import torch

    config = model.config
    called = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q8_0][0]
    if (scale_D := rope_scale(model)) is not None:
        writer.add_tensor("rope_freqs.weight", scale_D.numpy())
    # llama.cpp turns neighbouring rows together
    for name, tensor in turned(model.state_dict(), config.head_dim, to="pairs").items():
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        their_name = called.get_name(name, try_suffixes=(".weight", ".bias"))
        values = tensor.to(torch.float32).cpu().numpy()
        if is_quantised and values.ndim == 2 and values.shape[1] % block == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(their_name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(their_name, values)


def rope_scale(model: Any) -> Any:
    """By how much each angle is slower than the plain one; None where none is."""
    import torch

    config = model.config
    if config.rope_parameters["rope_type"] == "default":
        return None
    steps_D = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    plain_D = config.rope_parameters["rope_theta"] ** -steps_D
    return plain_D / model.model.rotary_emb.inv_freq.float().cpu()
