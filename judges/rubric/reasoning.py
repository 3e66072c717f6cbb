"""What a judge thinks aloud is not its verdict, and no text says by itself where thinking ends.

So a backend's row, or judge.reasoning, says what may stand before a verdict, and nothing is
guessed: a candidate who gets `</think>` quoted would choose what is read.
"""

import re

from judges.config import Reasoning
from judges.verdict import FaultCause, Faulty
from rewards.split import split_text

_FAMILY_OF = {
    "<think>": "think",
    "[THINK]": "mistral",
    "<|channel|>": "harmony",
    "<|channel>": "gemma",
}
_ALOUD = re.compile(r"</?think>|\[/?THINK\]|<\|channel|<channel\|")


def without_reasoning(text: str, declared: Reasoning) -> str:
    """Raises Faulty where the reasoning never ends."""
    text = text.strip()
    begun = next((mark for mark in _FAMILY_OF if text.startswith(mark)), None)
    if declared == "none" or (declared == "think" and begun is None):
        return text
    family = _FAMILY_OF[begun] if begun else "think"
    split = split_text(text, opened=begun is None, finish_reason="stop", family=family)
    if split.status == "unclosed":
        raise Faulty(FaultCause.TRUNCATED, f"its reasoning never ends: ...{text[-80:]!r}")
    return split.answer


def undeclared(text: str) -> str:
    """What to do about a reply that holds the marks of reasoning; nothing if it does not."""
    if not _ALOUD.search(text):
        return ""
    return "it thinks aloud: give its server a reasoning parser, or say so with judge.reasoning; "
