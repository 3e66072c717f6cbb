"""Gates and verdict to a reward, with its breakdown. Pure: no tokens, no network, no clock."""

from dataclasses import dataclass

from judges import Scored, Verdict
from rewards.config import RewardConfig
from rewards.gates import WHY
from rewards.split import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """One completion's reward and where it came from. `value` None: the judge failed, no vote."""

    value: float | None
    tier: str  # the rubric's label, the gate's name, or "fault"
    cause: str | None  # why the judge failed
    answer: str
    reasoning: str
    rationale: str
    status: str
    judge_latency_s: float | None  # None: the judge was not asked
    later_tags: int = 0


def gated_reward(split: Split, gate: str, config: RewardConfig) -> Reward:
    """A fault of the policy earns the floor."""
    return Reward(
        value=config.floor,
        tier=gate,
        cause=None,
        answer=split.answer,
        reasoning=split.reasoning,
        rationale=WHY[gate],
        status=split.status,
        judge_latency_s=None,
        later_tags=split.later_tags,
    )


def judged_reward(split: Split, verdict: Verdict) -> Reward:
    """A verdict earns its score. A fault of the judge earns None, never a number."""
    scored = isinstance(verdict, Scored)
    return Reward(
        value=verdict.score if scored else None,
        tier=verdict.tier if scored else "fault",
        cause=None if scored else str(verdict.cause),
        answer=split.answer,
        reasoning=split.reasoning,
        rationale=verdict.rationale if scored else verdict.detail,
        status=split.status,
        judge_latency_s=verdict.latency_s,
        later_tags=split.later_tags,
    )
