"""A GGUF served by llama.cpp, and what it says where the policy has spoken."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from judges.serve.llama import open_gguf
from rl.config.export import Quant
from rl.policy.export.proof import Fidelity, Said
from rl.policy.export.trained import Messages
from rl.refusal import Refusal

BOUND: dict[Quant, float] = {"q8_0": 1.0, "q4_k_m": 3.0}
"""How far the log-prob of a token may be."""


def served(
    file: Path,
    tokenizer: Any,
    asked: Sequence[Messages],
    said: Sequence[Said],
    *,
    new_tokens: int,
    quant: Quant,
    thinks: bool,
) -> Fidelity:
    """Each question as a chat: so its template, tokenizer and end are tried too.

    Log-probs are compared up to where it first says something else, that word included.
    """
    longest = max(len(each.prompt) for each in said) + new_tokens + 1
    server = open_gguf(str(file), slots=1, context_tokens=longest)
    apart: list[float] = []
    equal = 0
    for messages, each in zip(asked, said, strict=True):
        reply = server.handle_chat_completions(
            {
                "messages": messages,
                "max_tokens": new_tokens,
                "temperature": 0,
                "logprobs": True,
                "reasoning_format": "none",
                "chat_template_kwargs": {"enable_thinking": thinks},  # its own default is True
            }
        )
        read = reply["usage"]["prompt_tokens"]
        if read != len(each.prompt):
            raise Refusal(
                f"{file.name}: llama.cpp reads a prompt of {len(each.prompt)} tokens as {read}, so "
                "its tokenizer or its chat template is another, and it is not exported"
            )
        choice = reply["choices"][0]
        ended = choice["finish_reason"] == "stop"  # by a token that is no word
        words = choice["logprobs"]["content"]
        are_all = len(words) + ended >= reply["usage"]["completion_tokens"]
        apart += _apart(each, words, are_all=are_all)
        text = tokenizer.decode(each.answer, skip_special_tokens=True)
        equal += text.strip() == choice["message"]["content"].strip()
    return Fidelity(
        form="gguf",
        loaded_by="llama.cpp",
        of="log-probs",
        dtype=quant,
        farthest=max(apart, default=math.nan),
        mean=sum(apart) / len(apart) if apart else math.nan,
        bound=BOUND[quant],
        equal_texts=equal,
        texts=len(said),
    )


def _apart(said: Said, words: Sequence[dict[str, Any]], *, are_all: bool) -> list[float]:
    """The server leaves out what is half a character, and what follows then has no known place."""
    apart: list[float] = []
    for t, (word, token) in enumerate(zip(words, said.answer, strict=False)):
        is_same = word["id"] == token
        if is_same or are_all:
            logprob = said.logits_TV[t].log_softmax(-1)[word["id"]].item()
            apart.append(abs(logprob - word["logprob"]))
        if not is_same:
            break
    return apart
