"""How models mark their reasoning, a row each.

A completion arrives as `pieces`: plain text at even places, markers at odd ones. A family reads
the pieces and says where the leading reasoning ends; what follows is the answer, markers and all.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from judges.names import did_you_mean

Opening = Literal["open", "closed", "absent"]
"""What the prompt left behind: reasoning under way, reasoning already over, or no word of it."""

Parts = tuple[list[str], list[str] | None]
"""Pieces of reasoning, and pieces of the answer: None while the reasoning is not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    name: str
    markers: tuple[str, ...]
    opens: re.Pattern[str]  # the end of a prompt that leaves reasoning open
    closes: re.Pattern[str]  # the end of a prompt that leaves it closed
    read: Callable[[list[str], Opening], Parts]
    label: str = ""  # what the format writes before the reasoning itself

    def opening(self, prompt_tail: str) -> Opening:
        if self.opens.search(prompt_tail):
            return "open"
        return "closed" if self.closes.search(prompt_tail) else "absent"

    def pieces(self, text: str) -> list[str]:
        if not self.markers:
            return [text]
        return re.split(f"({'|'.join(map(re.escape, self.markers))})", text)


def _pair(name: str, start: str, stop: str, label: str = "") -> Family:
    """Reasoning between two markers, which may nest: it ends where the first one is undone."""

    def read(pieces: list[str], opening: Opening) -> Parts:
        leads = len(pieces) > 1 and pieces[1] == start and not pieces[0].strip()
        if opening == "closed" or (opening == "absent" and not leads):
            return [], pieces
        begin, depth = (0, 1) if opening == "open" else (2, 0)
        for place in range(1, len(pieces), 2):
            depth += 1 if pieces[place] == start else -1
            if depth == 0:
                return pieces[begin:place], pieces[place + 1 :]
        return pieces[begin:], None

    return Family(
        name=name,
        markers=(start, stop),
        opens=re.compile(rf"{re.escape(start)}(?:{re.escape(label.strip())})?\s*\Z"),
        closes=re.compile(rf"{re.escape(stop)}\s*\Z"),
        read=read,
        label=label,
    )


def _read_harmony(pieces: list[str], opening: Opening) -> Parts:
    """Messages in channels: leading `analysis` is reasoning, the first other message the answer."""
    if opening == "closed" or (opening == "absent" and (pieces[0].strip() or len(pieces) == 1)):
        return [], _without_last_marker(pieces)
    in_analysis = opening == "open"
    reasoning = [pieces[0]]
    channel = ""
    for place in range(1, len(pieces), 2):
        marker, text = pieces[place], pieces[place + 1]
        match marker:
            case "<|start|>":
                in_analysis, channel = False, ""
            case "<|channel|>":
                in_analysis, channel = False, text.strip()
            case "<|message|>" if channel.startswith("analysis"):
                in_analysis = True
                reasoning.append(text)
            case "<|message|>":
                return reasoning, _without_last_marker(pieces[place + 1 :])
            case _ if in_analysis and marker != "<|end|>":
                reasoning += [marker, text]
            case _:
                in_analysis = False
                if text.strip():
                    return reasoning, _without_last_marker(pieces[place + 1 :])
    return reasoning, None if in_analysis else [""]


def _without_last_marker(pieces: list[str]) -> list[str]:
    """The marker that ends the last message is no part of what it says."""
    return pieces if pieces[-1].strip() else pieces[:-2] or pieces


FAMILIES = {
    row.name: row
    for row in (
        _pair("think", "<think>", "</think>"),
        Family(
            name="harmony",
            markers=(
                *("<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"),
                *("<|end|>", "<|return|>", "<|call|>"),
            ),
            opens=re.compile(r"<\|channel\|>analysis[^<]*<\|message\|>\s*\Z"),
            closes=re.compile(r"<\|message\|>\s*\Z"),
            read=_read_harmony,
        ),
        _pair("mistral", "[THINK]", "[/THINK]"),
        _pair("gemma", "<|channel>", "<channel|>", label="thought\n"),
        Family(  # the server has split already: the text is the answer
            name="reasoning_content",
            markers=(),
            opens=re.compile(r"(?!)"),
            closes=re.compile(r"(?!)"),
            read=lambda pieces, _: ([], pieces),
        ),
    )
}


def family_named(name: str) -> Family:
    if name in FAMILIES:
        return FAMILIES[name]
    raise ValueError(
        f"family={name!r} is not a way of marking reasoning that is known here."
        f"{did_you_mean(name, FAMILIES)} Choose one of auto, {', '.join(FAMILIES)}."
    )
