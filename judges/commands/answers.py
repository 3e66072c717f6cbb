"""Answers of a policy that are compared or rated as they are, with no score to be made of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from judges.commands.jsonl import Row, read_jsonl, text_of
from judges.verdict import JudgeRequest

T = TypeVar("T")
UNUSED = ("samples", "commit_first", "lineup", "defences", "panel", "fallback", "profile")
"""Of a judge's settings: those of how a score is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    question: str
    truth: str
    answer: str
    reasoning: str
    lang: str

    def shown(self, with_reasoning: bool) -> str:
        return f"{self.reasoning}\n\n{self.answer}" if with_reasoning else self.answer

    def request(self, with_reasoning: bool = False) -> JudgeRequest:
        return JudgeRequest(
            question=self.question,
            truth=self.truth,
            answer=self.shown(with_reasoning),
            lang=self.lang,
        )


def read_answers(path: str) -> list[Answered]:
    def answered(row: Row) -> Answered:
        return Answered(
            question=text_of(row, "question"),
            truth=str(row.get("truth") or ""),
            answer=text_of(row, "answer"),
            reasoning=str(row.get("reasoning") or ""),
            lang=str(row.get("lang") or "en"),
        )

    return read_jsonl(path, answered, wanted="a JSONL of question and answer")


def drawn(rows: list[T], count: int | None, seed: int) -> Sequence[T]:
    """So many of them; all if not given."""
    if count is None or count >= len(rows):
        return rows
    return random.Random(seed).sample(rows, count)
