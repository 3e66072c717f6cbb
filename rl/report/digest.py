"""What the report needs of the completions, gathered in one pass over them."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Ranked = tuple[float, int, Row]

GATES = ("truncated", "unclosed", "empty", "too_long", "repetition", "wrong_language")
SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Digest:
    count: int
    best: list[Row]
    worst: list[Row]
    score_of_tier: dict[str, float]


def digest(rows: Iterable[Row], heldout: Iterable[Row] = ()) -> Digest:
    """Each question's best and worst answer; among equals, the latest.

    `heldout` rows are not counted or shown: they say what a tier is worth that no other row has.
    """
    count = 0
    totals: dict[str, float] = defaultdict(float)
    numbers: Counter[str] = Counter()
    best: dict[object, Ranked] = {}
    worst: dict[object, Ranked] = {}

    def weigh(row: Row) -> float | None:
        if (reward := row.get("reward")) is not None:
            tier = str(row.get("tier"))
            totals[tier] += reward
            numbers[tier] += 1
        return reward

    for row in heldout:
        weigh(row)
    for count, row in enumerate(rows, 1):
        if (reward := weigh(row)) is None:
            continue
        question = row.get("id")
        high, low = (reward, count, row), (-reward, count, row)
        best[question] = max(best.get(question, high), high, key=_rank)
        worst[question] = max(worst.get(question, low), low, key=_rank)
    return Digest(
        count=count,
        best=[row for _, _, row in heapq.nlargest(SHOWN, best.values(), key=_rank)],
        worst=[row for _, _, row in heapq.nlargest(SHOWN, worst.values(), key=_rank)],
        score_of_tier={tier: totals[tier] / number for tier, number in numbers.items()},
    )


def _rank(ranked: Ranked) -> tuple[float, int]:
    return ranked[:2]
