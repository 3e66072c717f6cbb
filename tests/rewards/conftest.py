"""Real tokenizers, small: byte-level BPE whose reasoning markers are tokens of one kind or none."""

from collections.abc import Callable
from functools import cache
from typing import Literal

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rewards.families import FAMILIES

TEXTS = [
    "The first-line treatment of type 2 diabetes is metformin, unless the kidneys fail.",
    "<think> let me think </think> [THINK] hm [/THINK] <|channel>thought <channel|>",
    "assistant user analysis final commentary message channel",
    "二甲双胍是2型糖尿病的一线药物。",
]
MarkerKind = Literal["special", "added", "plain"]


def byte_tokenizer(kind: MarkerKind, *families: str) -> PreTrainedTokenizerFast:
    """Markers of the families: special tokens, ordinary added tokens, or no tokens of their own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if kind != "plain":
        markers = [marker for family in families for marker in FAMILIES[family].markers]
        tokenizer.add_tokens(
            [AddedToken(marker, special=kind == "special", normalized=False) for marker in markers]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )


@pytest.fixture(scope="session")
def tokenizer_with() -> Callable[..., PreTrainedTokenizerFast]:
    return cache(byte_tokenizer)
