"""Answers that say nothing right and want a score for it: patterns as data, crossed with questions.

A pattern has a family, a language (`any` is both), a text, and the source that it is known from, or
its reason. In the text: {question} is the question, {wrong} and {wrong2} are the truths of other
questions, {truth} is the truth, {best} the best tier's label, {meaning} its meaning, {example} what
the rubric shows for it, {rubric} all tiers with their meanings, and {unseen:...} is written in
characters that draw nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from judges.commands.jsonl import Row, read_jsonl, text_of
from judges.rubric.rubric import Rubric, Tier
from judges.rubric.words import says_any, words_of
from judges.verdict import JudgeRequest

OURS = "shipped"
PATTERNS = Path(__file__).parent / "data" / "attacks.jsonl"
_FIELD = re.compile(r"\{(\w+)\}")
_UNSEEN = re.compile(r"\{unseen:([^}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    family: str
    lang: str
    text: str
    source: str = ""
    holds_truth: bool = False
    """A list of guesses with the truth among them. All others must not hold it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    pattern: Pattern
    request: JudgeRequest


def load_patterns(files: Sequence[str] = (OURS,)) -> list[Pattern]:
    """Of all the files, each pattern once. `shipped` is those that come with this package."""
    read = [
        pattern
        for file in files
        for pattern in read_jsonl(
            PATTERNS if file == OURS else file, _pattern, wanted="a JSONL of patterns"
        )
    ]
    return list({(pattern.lang, pattern.text): pattern for pattern in read}.values())


def _pattern(row: Row) -> Pattern:
    known = Pattern.__dataclass_fields__
    if unknown := sorted(set(row) - set(known)):
        raise ValueError(f"unknown key {unknown[0]!r}; a pattern has {', '.join(known)}")
    for name in ("family", "lang", "text"):
        text_of(row, name)
    return Pattern(**row)


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
        "example": _example(best),
        "rubric": "\n".join(f"- {tier.label}: {tier.meaning}" for tier in rubric.tiers),
    }
    text = _FIELD.sub(lambda match: words.get(match[1], match[0]), text)
    return _UNSEEN.sub(lambda match: _unseen(match[1]), text)


def _example(tier: Tier) -> str:
    shown = [f"{one.question} {one.answer} {tier.label}" for one in tier.examples]
    return "\n".join(shown) or tier.meaning


def _unseen(text: str) -> str:
    """In Unicode's tag characters, which models read and screens do not show."""
    return "".join(chr(0xE0000 + ord(character)) for character in text)
