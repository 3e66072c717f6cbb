"""What the report needs of the completions, gathered in one pass over them."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

GATES = ("truncated", "unclosed", "empty", "too_long", "repetition", "wrong_language")
SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Digest:
    count: int
    best: list[Row]
    worst: list[Row]
    score_of_tier: dict[str, float]


def digest(rows: Iterable[Row]) -> Digest:
    """Best and worst by reward, the later the better known; each question and answer once."""
    count = 0
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    best: dict[tuple[object, object], tuple[float, int, Row]] = {}
    for row in rows:
        count += 1
        reward = row.get("reward")
        if reward is None:
            continue
        sums[str(row.get("tier"))][0] += reward
        sums[str(row.get("tier"))][1] += 1
        best[row.get("id"), row.get("answer")] = (reward, count, row)
    return Digest(
        count=count,
        best=_one_a_question(heapq.nlargest(SHOWN * 8, best.values(), key=lambda item: item[:2])),
        worst=_one_a_question(
            heapq.nsmallest(SHOWN * 8, best.values(), key=lambda item: (item[0], -item[1]))
        ),
        score_of_tier={tier: total / number for tier, (total, number) in sums.items()},
    )


def _one_a_question(ranked: list[tuple[float, int, Row]]) -> list[Row]:
    first_of_each = {row.get("id"): row for _, _, row in reversed(ranked)}
    in_order = [row for _, _, row in ranked if first_of_each[row.get("id")] is row]
    return in_order[:SHOWN]


def tier_colours(tiers: Iterable[str], score_of_tier: Mapping[str, float]) -> dict[str, str]:
    """Best tier first. From green to red by score; gates in purples; judge faults grey, last."""
    known = dict.fromkeys([*tiers, *score_of_tier])
    scored = [tier for tier in known if tier not in GATES and tier != "fault"]
    scored.sort(key=lambda tier: -score_of_tier.get(tier, 0.0))
    colours = {
        tier: f"var(--tier-{round(4 - 4 * place / max(len(scored) - 1, 1))})"
        for place, tier in enumerate(scored)
    }
    gates = [gate for gate in GATES if gate in known]
    colours |= {gate: f"var(--gate-{place % 3})" for place, gate in enumerate(gates)}
    return colours | ({"fault": "var(--fault)"} if "fault" in known else {})
