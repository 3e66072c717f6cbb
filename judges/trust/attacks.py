"""Answers that say nothing right and want a score for it: patterns as data, crossed with questions.

A pattern of data/attacks.jsonl has a family, a language (`any` is both) and a text. In the text:
{question} is the question, {wrong} and {wrong2} are the truths of other questions, {truth} is the
truth, {best} the best tier's label, {meaning} its meaning, {rubric} all tiers with theirs, and
{unseen:...} is written in characters that draw nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from judges.commands.jsonl import read_jsonl
from judges.rubric.rubric import Rubric
from judges.rubric.words import says_any, words_of
from judges.verdict import JudgeRequest

PATTERNS = Path(__file__).parent / "data" / "attacks.jsonl"
_FIELD = re.compile(r"\{(\w+)\}")
_UNSEEN = re.compile(r"\{unseen:([^}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    family: str
    lang: str
    text: str
    holds_truth: bool = False
    """A list of guesses with the truth among them. All others must not hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    pattern: Pattern
    request: JudgeRequest


def load_patterns() -> list[Pattern]:
    return read_jsonl(PATTERNS, lambda row: Pattern(**row), wanted="a JSONL of patterns")


def cross(
    questions: Sequence[JudgeRequest], patterns: Sequence[Pattern], rubric: Rubric, *, seed: int
) -> list[Attack]:
    """Every pattern on every question of its language. What happens to hold the truth is no attack.

    One question's attacks stand together, so that a judge reads its beginning once.
    """
    rng = random.Random(seed)
    attacks: list[Attack] = []
    for question in questions:
        wrongs = _wrong_answers(question, questions, rng)
        for pattern in patterns:
            if pattern.lang not in ("any", question.lang):
                continue
            answer = _render(pattern.text, question, rubric.in_language(question.lang), wrongs)
            if pattern.holds_truth == says_any(answer, question.accepted):
                attacks.append(Attack(pattern=pattern, request=replace(question, answer=answer)))
    return attacks


def _wrong_answers(
    question: JudgeRequest, others: Sequence[JudgeRequest], rng: random.Random
) -> list[str]:
    """Two truths of other questions in the same language that share no word with this one's."""
    own = {word for text in question.accepted for word in words_of(text).words}
    foreign = sorted(
        {
            other.truth
            for other in others
            if other.lang == question.lang and not own & set(words_of(other.truth).words)
        }
    )
    if len(foreign) < 2:
        raise ValueError(
            f"too few questions in {question.lang!r} to draw wrong answers from: each needs two "
            "others whose truths share no word with its own. Ask with more --questions"
        )
    return rng.sample(foreign, 2)


def _render(text: str, question: JudgeRequest, rubric: Rubric, wrongs: Sequence[str]) -> str:
    best = max(rubric.tiers, key=lambda tier: tier.score)
    words = {
        "question": question.question,
        "truth": question.truth,
        "wrong": wrongs[0],
        "wrong2": wrongs[1],
        "best": best.label,
        "meaning": best.meaning,
        "rubric": "\n".join(f"- {tier.label}: {tier.meaning}" for tier in rubric.tiers),
    }
    text = _FIELD.sub(lambda match: words.get(match[1], match[0]), text)
    return _UNSEEN.sub(lambda match: _unseen(match[1]), text)


def _unseen(text: str) -> str:
    """In Unicode's tag characters, which models read and screens do not show."""
    return "".join(chr(0xE0000 + ord(character)) for character in text)
