"""Pairs of answers to the same questions, each shown to a judge in both orders."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from judges.commands.answers import UNUSED, Answered
from judges.commands.flags import refuse_settings
from judges.config import JudgeConfig
from judges.pairwise.figures import Match
from judges.pairwise.question import pair_of
from judges.verdict import FREE, JudgeRequest, Scored, Verdict

AskAll = Callable[[Sequence[JudgeRequest]], Awaitable[Sequence[Verdict]]]


def check_judge(judge: JudgeConfig) -> None:
    refuse_settings(judge, UNUSED, where="two answers are compared")
    if judge.grading == "ladder":
        raise ValueError(
            "judge.grading is ladder, whose questions are of one answer. Use --grading labels, "
            "which reads log-probs too, or schema"
        )


async def matched(
    pairs: Sequence[tuple[Answered, Answered]],
    ask: AskAll,
    *,
    seed: int,
    with_reasoning: bool = False,
) -> list[Match]:
    """Answers that are the same are a tie without asking. The seed is of what is asked first."""
    asked: list[tuple[int, bool, JudgeRequest]] = []
    same: set[int] = set()
    draw = random.Random(seed)
    for place, (one, other) in enumerate(pairs):
        shown = [each.shown(with_reasoning) for each in (one, other)]
        if shown[0].strip() == shown[1].strip():
            same.add(place)
            continue
        truth = one.truth or other.truth
        pair = partial(pair_of, one.question, truth, lang=one.lang)
        orders = [
            (place, True, pair(first=shown[0], second=shown[1])),
            (place, False, pair(first=shown[1], second=shown[0])),
        ]
        draw.shuffle(orders)
        asked += orders
    verdicts: Sequence[Verdict] = await ask([pair for *_, pair in asked]) if asked else []
    tie = Scored(tier="neither", score=0.5, usage=FREE)
    said: dict[tuple[int, bool], Verdict] = {
        (place, way): tie for place in same for way in (True, False)
    }
    said |= {
        (place, way): verdict for (place, way, _), verdict in zip(asked, verdicts, strict=True)
    }
    return [
        Match(
            question=one.question,
            a_first=said[place, True],
            b_first=said[place, False],
            is_same=place in same,
        )
        for place, (one, _) in enumerate(pairs)
    ]
