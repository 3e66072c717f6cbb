"""Ways of asking, tried on labelled answers; the cheapest of those that nobody beats is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from judges.config import JudgeConfig
from judges.fit.profile import Reading, place_of
from judges.rubric.rubric import Rubric
from judges.trust.agreement import auc_within, bootstrap
from judges.trust.cost import Cost
from judges.trust.labelled import Labelled
from judges.verdict import Scored, Verdict

Way = Literal[
    "labels",
    "ladder",
    "schema",
    "schema_bare",
    "schema_x3",
    "labels_lineup",
    "ladder_lineup",
    "schema_lineup",
]
WAYS: Mapping[Way, Mapping[str, Any]] = {
    "labels": {"grading": "labels"},
    "ladder": {"grading": "ladder"},
    "schema": {"grading": "schema"},
    "schema_bare": {"grading": "schema", "rationale": False},
    "schema_x3": {"grading": "schema", "samples": 3},
    "labels_lineup": {"grading": "labels", "lineup": True},
    "ladder_lineup": {"grading": "ladder", "lineup": True},
    "schema_lineup": {"grading": "schema", "lineup": True},
}
NEEDED = 0.9
"""Of the answers, the share that a way must get a verdict on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A labelled answer, and where what was said of it lies. None where nothing was."""

    row: Labelled
    place: float | None
    demoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    way: str
    reading: Reading
    config: JudgeConfig
    said: Sequence[Said]
    faults: Mapping[str, int]
    cost: Cost

    @property
    def name(self) -> str:
        is_half_read = self.config.reads_logprobs and self.reading == "likeliest"
        return f"{self.way}, likeliest tier" if is_half_read else self.way

    @property
    def auc(self) -> float | None:
        return _area(self.said)


def said_of(
    rows: Sequence[Labelled], verdicts: Sequence[Verdict], place: Callable[[Scored], float]
) -> list[Said]:
    return [
        Said(row=row, place=place(verdict), demoted=verdict.demoted)
        if isinstance(verdict, Scored)
        else Said(row=row, place=None)
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def as_read(reading: Reading, rubric: Rubric) -> Callable[[Scored], float]:
    return lambda verdict: place_of(verdict, rubric, reading)


def readings_of(config: JudgeConfig) -> tuple[Reading, ...]:
    return ("expected", "likeliest") if config.reads_logprobs else ("likeliest",)


def choose(tried: Sequence[Tried], *, seed: int) -> Tried | None:
    """The fewest tokens, of those whose AUC is within one standard error of the best.

    The error is that of the gap between the two, by question: they have seen the same answers.
    """
    fit = [each for each in tried if each.auc is not None and _answered(each.said) >= NEEDED]
    if not fit:
        return None
    best = max(fit, key=lambda each: each.auc or 0.0)
    near = [each for each in fit if each is best or _is_near(each, best, seed)]
    return min(near, key=lambda each: (each.cost.tokens, -(each.auc or 0.0)))


def _answered(said: Sequence[Said]) -> float:
    return sum(each.place is not None for each in said) / len(said)


def _is_near(one: Tried, best: Tried, seed: int) -> bool:
    pairs = list(zip(one.said, best.said, strict=True))

    def gap(rows: Sequence[tuple[Said, Said]]) -> float | None:
        own, its = _area([each for each, _ in rows]), _area([each for _, each in rows])
        return None if own is None or its is None else its - own

    found = bootstrap(pairs, gap, by=lambda pair: pair[0].row.request.question, seed=seed)
    if found.value is None or found.low is None or found.high is None:
        return False
    return found.value <= (found.high - found.low) / (2 * 1.96)


def _area(said: Sequence[Said]) -> float | None:
    scored = [(each.place, each.row) for each in said if each.place is not None]
    return auc_within(
        [place for place, _ in scored],
        [row.right for _, row in scored],
        [row.request.lang for _, row in scored],
    )
