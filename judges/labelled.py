"""Answers that people have graded: read from a file, asked of a judge, row by row."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from judges.backends import resolve
from judges.budget import BudgetExceeded
from judges.config import JudgeConfig
from judges.judge import make_judge
from judges.rubric import Rubric, Tier
from judges.stats import JudgeStats
from judges.verdict import FaultCause, JudgeFault, JudgeRequest, Verdict

SHIPPED = Path(__file__).parent / "data" / "calibration.jsonl"
BINARY = {1: True, "1": True, 0: False, "0": False}
REPORT_EVERY = 20


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
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file. Give a JSONL of labelled answers")
    rows: list[Labelled] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows.append(_labelled(json.loads(line), fields, rubric, cut))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    if not rows:
        raise ValueError(f"{path} has no rows: there is nothing to compare with")
    if len({row.tier is None for row in rows}) > 1:
        raise ValueError(f"{path}: some rows are labelled with a tier, some with 0 or 1")
    return rows


def _labelled(row: Any, fields: Fields, rubric: Rubric, cut: float) -> Labelled:
    label = row.get(fields.label_field)
    tier = _tier(label, fields.label_field, rubric)
    truth, *others = _text(row, "truth_field", fields.truth_field).split(
        fields.alias_separator or "\0"
    )
    return Labelled(
        request=JudgeRequest(
            question=_text(row, "question_field", fields.question_field),
            truth=truth.strip(),
            answer=_text(row, "answer_field", fields.answer_field),
            aliases=(
                *(str(a) for a in row.get("aliases") or ()),
                *(a.strip() for a in others if a),
            ),
            lang=str(row.get("lang") or "en"),
        ),
        right=tier.score >= cut if tier else BINARY[label],
        tier=tier and tier.label,
    )


def _text(row: Any, flag: str, name: str) -> str:
    if not isinstance(row.get(name), str):
        flag = flag.replace("_", "-")
        raise ValueError(f"`{name}` must be there and be text. Is another field meant by --{flag}?")
    return row[name]


def _tier(label: Any, name: str, rubric: Rubric) -> Tier | None:
    if label in BINARY:
        return None
    if label in rubric.labels:
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


async def judge_all(
    config: JudgeConfig, requests: Sequence[JudgeRequest]
) -> tuple[list[Verdict], JudgeStats]:
    """As many at once as the judge takes, so that no request waits through its own deadline."""
    turns = asyncio.Semaphore(resolve(config).max_in_flight)
    done = 0

    async with make_judge(config) as judge:

        async def verdict(request: JudgeRequest) -> Verdict:
            nonlocal done
            async with turns:
                try:
                    return await judge.score_one(request)
                except BudgetExceeded as error:
                    return JudgeFault(cause=FaultCause.BUDGET, detail=str(error))
                finally:
                    done += 1
                    if done % REPORT_EVERY == 0:
                        print(f"{done} of {len(requests)} judged", file=sys.stderr, flush=True)

        return list(await asyncio.gather(*map(verdict, requests))), judge.stats()
