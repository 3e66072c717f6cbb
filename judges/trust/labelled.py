"""Answers that people have graded, read from a file."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from statistics import fmean
from typing import Any

from judges.commands.jsonl import Row, read_jsonl, text_of, texts_of
from judges.config import JudgeConfig
from judges.fit.profile import profile_of
from judges.rubric.lineup import unpaid
from judges.rubric.rubric import Rubric, Tier, load_rubric
from judges.verdict import JudgeRequest

SHIPPED = Path(__file__).parent / "data" / "calibration.jsonl"
RIGHT, WRONG = ("1", "1.0", "True"), ("0", "0.0", "False")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Where a row of a JSONL keeps what is needed."""

    question_field: str = "question"
    truth_field: str = "truth"
    answer_field: str = "answer"
    label_field: str = "tier"
    """A tier of the rubric, or 1 for right and 0 for wrong."""
    alias_separator: str | None = None
    """What stands between several accepted truths in one field, such as /."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    request: JudgeRequest
    right: bool
    tier: str | None
    """None where people said only right or wrong."""

    @property
    def label(self) -> str:
        return self.tier or ("right" if self.right else "wrong")


def read_labelled(path: str | Path, fields: Fields, rubric: Rubric, cut: float) -> list[Labelled]:
    """`cut` is the score from which a tier is right."""
    if Path(path) == SHIPPED and rubric.labels != load_rubric("medical_en").labels:
        raise ValueError(
            f"the shipped answers are labelled with the tiers of medical_en and medical_zh, not of "
            f"rubric {rubric.name}: give a JSONL of your own before the flags"
        )
    rows = read_jsonl(
        path, lambda row: _labelled(row, fields, rubric, cut), wanted="a JSONL of labelled answers"
    )
    if not rows:
        raise ValueError(f"{path} has no rows: there is nothing to compare with")
    if len({row.tier is None for row in rows}) > 1:
        raise ValueError(f"{path}: some rows are labelled with a tier, some with 0 or 1")
    return rows


def _labelled(row: Row, fields: Fields, rubric: Rubric, cut: float) -> Labelled:
    label = row.get(fields.label_field)
    tier = _tier(label, fields.label_field, rubric)
    truth, *others = _text(row, "truth", fields.truth_field).split(fields.alias_separator or "\0")
    return Labelled(
        request=JudgeRequest(
            question=_text(row, "question", fields.question_field),
            truth=truth.strip(),
            answer=_text(row, "answer", fields.answer_field),
            aliases=(*texts_of(row, "aliases"), *(a.strip() for a in others if a)),
            lang=str(row.get("lang") or "en"),
        ),
        right=tier.score >= cut if tier else str(label) in RIGHT,
        tier=tier and tier.label,
    )


def _text(row: Row, what: str, name: str) -> str:
    return text_of(row, name, f". Is another field meant by --{what}-field?")


def _tier(label: Any, name: str, rubric: Rubric) -> Tier | None:
    if str(label) in RIGHT + WRONG:  # however JSON has them: 1, 1.0, true, "1"
        return None
    if isinstance(label, str) and label in rubric.labels:
        return rubric.tier(label)
    raise ValueError(
        f"`{name}` is {label!r}: neither a tier of rubric {rubric.name} "
        f"({', '.join(rubric.labels)}) nor 0 or 1. Name the field with --label-field, or the "
        "rubric with --rubric"
    )


def sample(rows: Sequence[Labelled], count: int | None, seed: int) -> list[Labelled]:
    """`count` rows, as many of each label in each language as there are, in the file's order."""
    if count is None or count >= len(rows):
        return list(rows)
    kinds: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        kinds.setdefault((row.label, row.request.lang), []).append(i)
    rng = random.Random(seed)
    piles = [rng.sample(pile, len(pile)) for pile in kinds.values()]
    dealt = [i for round_ in zip_longest(*piles) for i in round_ if i is not None]
    return [rows[i] for i in sorted(dealt[:count])]


def worth_of(row: Labelled, rubric: Rubric) -> float:
    """What people's label would earn; right is the best tier, wrong the mean of those unpaid."""
    if row.tier:
        return rubric.tier(row.tier).score
    low, high = ends_of([row], rubric)
    return high if row.right else low


def ends_of(rows: Sequence[Labelled], rubric: Rubric) -> tuple[float, float]:
    """The least and the most that a label can be worth."""
    scores = [tier.score for tier in rubric.tiers]
    if any(row.tier for row in rows):
        return min(scores), max(scores)
    return fmean(score for score in scores if score <= unpaid(rubric).score), max(scores)


def passes_from(judge: JudgeConfig, rubric: Rubric, asked: float | None) -> float:
    """The score from which the judge has called an answer right: where its profile says, if any."""
    profile = profile_of(judge) if asked is None else None
    return profile.right_from if profile else right_from(rubric, asked)


def right_from(rubric: Rubric, asked: float | None) -> float:
    """The score from which an answer counts as right: the lowest tier that earns something."""
    if asked is not None:
        return asked
    earning = [tier.score for tier in rubric.tiers if tier.score > 0]
    if not earning:
        raise ValueError(
            f"rubric {rubric.name} has no tier with a score above 0: say from which score an "
            "answer counts as right, with --right-from"
        )
    return min(earning)
