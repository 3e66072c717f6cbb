"""A tokenizer as llama.cpp reads it: byte-level BPE, by the rule its text is split by."""

import json
from typing import Any

from rl.refusal import Refusal

_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLIT_BY = {
    _LETTERS + r"\p{N}{1,3}" + _REST: "llama-bpe",
    _LETTERS + r"\p{N}" + _REST: "qwen2",
}
"""llama.cpp's name for a rule that a tokenizer spells out."""


def add_words(writer: Any, tokenizer: Any, vocabulary: int) -> None:
    from gguf import TokenType

    core = json.loads(tokenizer.backend_tokenizer.to_str())
    words, kinds = [f"[PAD{i}]" for i in range(vocabulary)], [TokenType.UNUSED] * vocabulary
    for word, i in core["model"]["vocab"].items():
        words[i], kinds[i] = word, TokenType.NORMAL
    for added in core["added_tokens"]:
        words[added["id"]] = added["content"]
        special = added["special"]
        kinds[added["id"]] = TokenType.CONTROL if special else TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule_of(tokenizer))
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    merges = core["model"]["merges"]
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
    for add, i in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if i is not None:
            add(i)
    writer.add_add_bos_token(tokenizer("a").input_ids[0] == tokenizer.bos_token_id)
    writer.add_chat_template(tokenizer.chat_template)


def rule_of(tokenizer: Any) -> str:
    """llama.cpp's name for how a text is split before its pieces are merged."""
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    match core["model"]["type"], core["pre_tokenizer"]:
        case "BPE", {"type": "ByteLevel", "use_regex": True}:
            return "gpt-2"
        case "BPE", {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", "use_regex": True},
            ],
        }:
            return "smollm"
        case "BPE", {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": rule}},
                {"type": "ByteLevel", "use_regex": False},
            ],
        } if rule in SPLIT_BY:
            return SPLIT_BY[rule]
        case kind, pre:
            raise Refusal(
                f"--to gguf: the tokenizer ({kind}) splits text by a rule that is not known here "
                f"in llama.cpp's words ({json.dumps(pre)[:120]}). Take --to merged, and "
                "llama.cpp's own convert_hf_to_gguf.py"
            )
