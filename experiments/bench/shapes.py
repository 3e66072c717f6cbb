"""Models of random weights in the shapes of real ones: timing does not need their knowledge."""

from types import SimpleNamespace
from typing import Any

import torch

LAYERS = {"smollm2-135m": 30, "qwen3.5-4b": 32}


def policy_of(shape: str, *, layers: int | None = None, dtype: str = "float32") -> SimpleNamespace:
    """A LoRA policy of `shape` on the GPU if there is one, and a tokenizer that knows three words.

    The same call gives the same weights. The adapter is not zero, so that it has gradients in both
    of its factors.
    """
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    torch.manual_seed(0)
    make = {"smollm2-135m": _smollm2, "qwen3.5-4b": _qwen35}[shape]
    base = make(layers or LAYERS[shape]).to(getattr(torch, dtype))
    base = base.to("cuda" if torch.cuda.is_available() else "cpu")
    model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "?": 2}, unk_token="?"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<eos>"
    )
    return SimpleNamespace(model=model, tokenizer=tokenizer)


def _smollm2(layers: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=layers,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def _qwen35(layers: int) -> Any:
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    return Qwen3_5ForCausalLM(
        Qwen3_5TextConfig(
            vocab_size=248320,
            hidden_size=2560,
            intermediate_size=9216,
            num_hidden_layers=layers,
            num_attention_heads=16,
            num_key_value_heads=4,
            head_dim=256,
            linear_num_key_heads=16,
            linear_num_value_heads=32,
            linear_key_head_dim=128,
            linear_value_head_dim=128,
            tie_word_embeddings=True,
            pad_token_id=0,
            eos_token_id=1,
        )
    )
