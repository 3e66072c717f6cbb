"""A Qwen3.5 and a Llama small enough for two cores, made here: no hub, random weights.

The Qwen3.5 has every part of the real one: both kinds of attention, the vision tower where it is
wanted, the special tokens, a think template. What they say means nothing; how they are loaded,
prompted, adapted, trained and served is what the real ones' would be.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.data.rows import read_rows
from rl.data.source import SHIPPED
from rl.policy.templates import CHATML_THINK

SEED = 0
VOCABULARY = 1024
PAD, END_OF_TURN = "<|endoftext|>", "<|im_end|>"
IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
SPECIAL = (PAD, "<|im_start|>", END_OF_TURN, VISION_START, VISION_END, IMAGE, VIDEO)
THINK = ("<think>", "</think>")
"""One token each, and text like any other: decoding keeps them."""


class Tiny(ABC):
    thinks: bool
    """Whether its template opens a think block where nothing is said of thinking."""

    @property
    def fingerprint(self) -> str:
        """Of the recipe and of what its tokenizer is trained on."""
        files = (Path(__file__), CHATML_THINK, *sorted(SHIPPED.glob("*.jsonl")))
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()

    def make(self, name: str, target: Path) -> None:
        import torch

        tokenizer = _tokenizer(self.thinks)
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            model = self.model(tokenizer)
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
        model.to(torch.bfloat16).save_pretrained(target)
        tokenizer.save_pretrained(target)

    @abstractmethod
    def model(self, tokenizer: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class TinyQwen(Tiny):
    has_vision: bool
    thinks: bool

    def model(self, tokenizer: Any) -> Any:
        return _with_vision(tokenizer) if self.has_vision else _text_only(tokenizer)


@dataclass(frozen=True)
class TinyLlama(Tiny):
    thinks: bool = False

    def model(self, tokenizer: Any) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        settings = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return LlamaForCausalLM(settings)


def _tokenizer(thinks: bool) -> Any:
    """Byte-level BPE, trained on the questions that come with the package."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(THINK),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_sentences(), trainer)
    core.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    core.add_tokens([AddedToken(token, normalized=False) for token in THINK])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END_OF_TURN,
        chat_template=_template(thinks),
        clean_up_tokenization_spaces=False,
    )


def _template(thinks: bool) -> str:
    """The checkpoints of 4B and above open a think block unless told not to, those of 2B and below
    close it at once unless told to think."""
    closed = CHATML_THINK.read_text(encoding="utf-8")
    return closed.replace("default(false)", "default(true)") if thinks else closed


def _sentences() -> Iterator[str]:
    for file in sorted(SHIPPED.glob("*.jsonl")):
        for row in read_rows(file):
            yield from (row.question, row.answer)


def _text_only(tokenizer: Any) -> Any:
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    return Qwen3_5ForCausalLM(Qwen3_5TextConfig(**_text_settings(tokenizer)))


def _with_vision(tokenizer: Any) -> Any:
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    text = _text_settings(tokenizer)
    config = Qwen3_5Config(
        text_config=text,
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "num_position_embeddings": 16,
            "out_hidden_size": text["hidden_size"],
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        video_token_id=tokenizer.convert_tokens_to_ids(VIDEO),
        vision_start_token_id=tokenizer.convert_tokens_to_ids(VISION_START),
        vision_end_token_id=tokenizer.convert_tokens_to_ids(VISION_END),
        tie_word_embeddings=text["tie_word_embeddings"],
    )
    return Qwen3_5ForConditionalGeneration(config)


def _text_settings(tokenizer: Any) -> dict[str, Any]:
    """Heads of 128 in linear attention, because vLLM's LoRA wants them."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "max_position_embeddings": 4096,
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000_000.0,
            "partial_rotary_factor": 0.25,
            "mrope_section": [3, 3, 2],
            "mrope_interleaved": True,
        },
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
