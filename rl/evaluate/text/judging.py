"""A judge that is asked of answers that columns wrote, however often it is down meanwhile."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from judges import JudgeConfig
from judges.commands.answers import Answered
from judges.judge import Judge, make_judge
from judges.opening import MakeGrader
from judges.together import all_to_their_end
from judges.verdict import OUTAGES, TURNED_AWAY, JudgeFault, JudgeRequest, Verdict
from rl.evaluate.task import Score, mean_of
from rl.refusal import Refusal
from rl.rollout.background import Background
from rl.rollout.stream import MISSING_SHARE
from rl.run.progress import duration
from rl.run.ranks import say

ASKED_AT_ONCE = 32
"""Requests between two writings down."""
ASKED_AGAIN = 3
"""Times that a request is asked again after an outage: one that never comes in time is a fault."""
A_VERDICT_DEPENDS_ON = (
    *("backend", "model", "rubric", "known", "grading", "reasoning", "rationale", "samples"),
    *("temperature", "max_reply_tokens", "commit_first", "lineup", "defences", "profile"),
    *("panel", "vote", "fallback"),
)

AskAll = Callable[[Sequence[JudgeRequest]], Awaitable[list[Verdict]]]


def facts_of_judge(judge: JudgeConfig) -> dict[str, Any]:
    return {name: getattr(judge, name) for name in A_VERDICT_DEPENDS_ON}


def waiting_for(judge: Judge) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await judge.wait_until_alive(
            on_pause=lambda: say("The judge does not answer; waiting for it."),
            on_resume=lambda seconds: say(f"The judge is back after {duration(seconds)}."),
        )

    return wait


@contextlib.contextmanager
def opened_judge(config: JudgeConfig, grader: MakeGrader) -> Iterator[tuple[Background, AskAll]]:
    with (
        contextlib.closing(Background()) as background,
        background.entered(make_judge(config, grader)) as judge,
    ):
        yield background, partial(_through_outages, judge)


def written_in(score: Score) -> list[Answered]:
    """What a column answered to one question."""
    asked = score.shown
    return [
        Answered(
            question=asked["question"],
            truth=asked["truth"],
            answer=each["answer"],
            reasoning=each.get("reasoning", ""),
            lang=asked["lang"],
        )
        for each in asked["answers"]
    ]


def fault_share(verdicts: Sequence[Verdict]) -> Mapping[str, float]:
    """As a score's value: nothing, where nobody was asked."""
    faults = sum(isinstance(verdict, JudgeFault) for verdict in verdicts)
    return {"judge_fault": faults / len(verdicts)} if verdicts else {}


def refuse_faults(name: str, scores: Sequence[Score]) -> None:
    faults = mean_of("judge_fault")(scores)
    if faults is not None and faults > MISSING_SHARE:
        raise Refusal(
            f"{name}: the judge gave no verdict on {faults:.0%} of the answers. Ask it again, or "
            "another"
        )


async def _through_outages(judge: Judge, requests: Sequence[JudgeRequest]) -> list[Verdict]:
    verdicts = await all_to_their_end(map(judge.score_one, requests))
    for _ in range(ASKED_AGAIN):
        lost = [place for place, verdict in enumerate(verdicts) if _fault_in(verdict, OUTAGES)]
        if not lost:
            break
        await waiting_for(judge)()
        again = await all_to_their_end(judge.score_one(requests[place]) for place in lost)
        for place, verdict in zip(lost, again, strict=True):
            verdicts[place] = verdict
    turned_away = [why for verdict in verdicts if (why := _fault_in(verdict, TURNED_AWAY))]
    if len(turned_away) > MISSING_SHARE * len(verdicts):
        raise Refusal(
            f"the judge turns requests away: {turned_away[0]}. Check its key, --judge.model and "
            "--judge.url"
        )
    return verdicts


def _fault_in(verdict: Verdict, causes: Any) -> str | None:
    is_one = isinstance(verdict, JudgeFault) and verdict.cause in causes
    return (verdict.detail or verdict.cause.value) if is_one else None
