"""An answer as it comes: token by token, split as training splits it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.families import FAMILIES
from rewards.split import Split, split

MARKERS = [marker for family in FAMILIES.values() for marker in family.markers]
UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a character of several tokens is shown as until its last one."""

Show = Callable[[str, str], None]
"""What was added to the reasoning, and to the answer."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int
    seed: int


def recommended(does_think: bool) -> tuple[float, float]:
    """Temperature and top_p, as Qwen3.5 asks for them."""
    return (1.0, 0.95) if does_think else (0.7, 0.8)


@dataclass(frozen=True, kw_only=True)
class Reply:
    split: Split
    tokens: int
    first_token_s: float
    tokens_per_s: float


class Shown:
    """What a person has seen so far, of a text that grows."""

    def __init__(self) -> None:
        self.reasoning = self.answer = ""

    def added(self, now: Split, *, is_whole: bool = False) -> tuple[str, str]:
        """What may be shown now and stays true: no half marker, no half character."""
        reasoning, answer = now.reasoning, now.answer
        if not is_whole:
            reasoning, answer = settled(reasoning), settled(answer)
        more = _more(self.reasoning, reasoning), _more(self.answer, answer)
        self.reasoning, self.answer = self.reasoning + more[0], self.answer + more[1]
        return more


def settled(text: str) -> str:
    text = text.rstrip(UNFINISHED)
    for marker in MARKERS:
        for length in range(len(marker), 0, -1):
            if text.endswith(marker[:length]):
                return text[:-length].rstrip()
    return text


def _more(seen: str, text: str) -> str:
    return text[len(seen) :] if text.startswith(seen) else ""


def reply(
    model: Any, tokenizer: Any, prompt: Sequence[int], sampling: Sampling, show: Show
) -> Reply:
    """`show` is called as often as there is something new to see."""
    import torch

    ids: list[int] = []
    shown = Shown()
    began_s = time.perf_counter()
    at_s: list[float] = []

    def on_tokens(tokens: list[int]) -> None:
        at_s.append(time.perf_counter())
        ids.extend(tokens)
        added = shown.added(split(prompt, ids, tokenizer, None))
        if any(added):
            show(*added)

    ids_1L = torch.tensor([list(prompt)], device=model.device)
    choice: dict[str, Any] = {"do_sample": False}
    if sampling.temperature:
        choice = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
        }
    torch.manual_seed(sampling.seed)
    with torch.no_grad():
        model.generate(
            input_ids=ids_1L,
            attention_mask=torch.ones_like(ids_1L),
            max_new_tokens=sampling.max_new_tokens,
            streamer=_Streamer(on_tokens),
            **choice,
        )
    whole = split(prompt, ids, tokenizer, None)
    if any(rest := shown.added(whole, is_whole=True)):
        show(*rest)
    after_first_s = at_s[-1] - at_s[0]
    return Reply(
        split=whole,
        tokens=len(ids),
        first_token_s=at_s[0] - began_s,
        tokens_per_s=(len(ids) - 1) / after_first_s if after_first_s else 0.0,
    )


class _Streamer:
    """What `generate` hands tokens to; the first it hands over is the prompt."""

    def __init__(self, on_tokens: Callable[[list[int]], None]) -> None:
        self._on_tokens, self._is_prompt = on_tokens, True

    def put(self, value: Any) -> None:
        if self._is_prompt:
            self._is_prompt = False
            return
        self._on_tokens(value.flatten().tolist())

    def end(self) -> None:
        pass
