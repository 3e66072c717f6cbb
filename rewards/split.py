"""Splits a completion into reasoning and the answer a person would be shown.

Only leading reasoning is taken off, and the first close (by depth) ends it: nothing later is
hidden, and later markers stay in the answer and are counted. Markers are looked for among the
token ids first, because one that is a special token vanishes when decoded the usual way, and
ordinary tokens that merely spell it are not it. Only a completion without any is read as text.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rewards.families import FAMILIES, Family, Opening, family_named

Status = Literal["ok", "truncated", "unclosed", "empty"]

PROMPT_TAIL_TOKENS = 32  # markers may be spelled in many small tokens


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is needed here."""

    @property
    def unk_token_id(self) -> int | None: ...
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...
    def decode(
        self,
        token_ids: list[int],
        skip_special_tokens: bool = False,
        *,
        clean_up_tokenization_spaces: bool,
    ) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    answer: str
    reasoning: str
    status: Status
    later_tags: int = 0  # reasoning markers left visible in the answer


def split(
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    tokenizer: Tokenizer,
    finish_reason: str | None,
    family: str = "auto",
) -> Split:
    """What the policy reasoned and what it answered, from the token ids."""
    tail = _decode(tokenizer, list(prompt_ids[-PROMPT_TAIL_TOKENS:]))
    row = _detect(tokenizer, tail) if family == "auto" else family_named(family)
    pieces = _pieces_of_ids(list(completion_ids), tokenizer, row)
    return _split(row, pieces, row.opening(tail), finish_reason)


def split_text(
    text: str, *, opened: bool, finish_reason: str | None, family: str = "think"
) -> Split:
    """The same for text with its markers in it. `opened`: the prompt already opened reasoning."""
    row = family_named(family)
    return _split(row, row.pieces(text), "open" if opened else "absent", finish_reason)


def split_message(
    message: Mapping[str, object], *, finish_reason: str | None, family: str = "think"
) -> Split:
    """The same for a chat message, whose server may have put the reasoning in its own field."""
    content = str(message.get("content") or "")
    reasoning = str(message.get("reasoning_content") or message.get("reasoning") or "").strip()
    if not reasoning:
        return split_text(content, opened=False, finish_reason=finish_reason, family=family)
    if finish_reason == "length" and _is_blank(content):
        return Split(answer="", reasoning=reasoning, status="unclosed")
    tags = len(family_named(family).pieces(content)) // 2
    answer = content.strip()
    status = _status(answer, finish_reason)
    return Split(answer=answer, reasoning=reasoning, status=status, later_tags=tags)


def _split(family: Family, pieces: list[str], opening: Opening, finish_reason: str | None) -> Split:
    before, after = family.read(pieces, opening)
    reasoning = "".join(before).lstrip().removeprefix(family.label).strip()
    if after is None:
        return Split(answer="", reasoning=reasoning, status="unclosed")
    answer = "".join(after).strip()
    status = _status(answer, finish_reason)
    return Split(answer=answer, reasoning=reasoning, status=status, later_tags=len(after) // 2)


def _status(answer: str, finish_reason: str | None) -> Status:
    if finish_reason == "length":
        return "truncated"
    return "empty" if _is_blank(answer) else "ok"


def _is_blank(text: str) -> bool:
    """Nothing to see: separators, controls and zero-width characters only."""
    return all(unicodedata.category(character)[0] in "ZC" for character in text)


def _detect(tokenizer: Tokenizer, prompt_tail: str) -> Family:
    rows = [row for row in FAMILIES.values() if row.markers]
    for row in rows:
        if row.opening(prompt_tail) != "absent":
            return row
    return next((row for row in rows if _marker_ids(tokenizer, row)), FAMILIES["think"])


def _marker_ids(tokenizer: Tokenizer, family: Family) -> dict[int, str]:
    """The markers by token id; nothing unless each of them is one token."""
    ids = {tokenizer.convert_tokens_to_ids(marker): marker for marker in family.markers}
    missing = {None, tokenizer.unk_token_id} & ids.keys()
    return {} if missing else {id_: marker for id_, marker in ids.items() if id_ is not None}


def _pieces_of_ids(ids: list[int], tokenizer: Tokenizer, family: Family) -> list[str]:
    markers = _marker_ids(tokenizer, family)
    ids = _without_terminators(ids, tokenizer, markers)
    places = [place for place, id_ in enumerate(ids) if id_ in markers]
    if not places:
        return family.pieces(_decode(tokenizer, ids))
    pieces: list[str] = []
    begin = 0
    for place in places:
        pieces += [_decode(tokenizer, ids[begin:place]), markers[ids[place]]]
        begin = place + 1
    return [*pieces, _decode(tokenizer, ids[begin:])]


def _without_terminators(
    ids: list[int], tokenizer: Tokenizer, markers: Mapping[int, str]
) -> list[int]:
    """Without the end-of-turn and padding tokens at the end, by the tokenizer's own account."""
    end = len(ids)
    while end and (last := ids[end - 1]) not in markers:
        if _decode(tokenizer, [last], skip_special_tokens=True):
            break
        while end and ids[end - 1] == last:
            end -= 1
    return ids[:end]


def _decode(tokenizer: Tokenizer, ids: list[int], *, skip_special_tokens: bool = False) -> str:
    if not ids:
        return ""
    return tokenizer.decode(
        ids, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
    )
