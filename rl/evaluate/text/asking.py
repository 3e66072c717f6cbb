"""Questions asked of a policy, its answers judged as training judges them, or not at all."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from judges.judge import Judge
from rewards.config import RewardConfig
from rewards.judged import JudgedReward, Sample
from rewards.split import split
from rewards.tiers import Reward
from rl.data.rows import Prompt
from rl.evaluate.text.judging import waiting_for
from rl.rollout.engine import Engine, Sampling
from rl.rollout.stream import (
    RewardFunction,
    Rollout,
    judged_through_outages,
    refuse_turned_away,
    sample_and_judge,
)

Wait = Callable[[], Awaitable[None]]


async def asked(
    engine: Engine,
    reward: RewardFunction,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    wait: Wait | None,
) -> list[Rollout]:
    batch = await sample_and_judge(engine, reward, tokenizer, prompts, sampling)
    if wait:
        batch = await judged_through_outages(batch, reward, wait)
        refuse_turned_away(batch.rollouts)
    return batch.rollouts


def judged_by(judge: Judge, config: RewardConfig, tokenizer: Any) -> tuple[RewardFunction, Wait]:
    return JudgedReward(judge, config, tokenizer), waiting_for(judge)


def split_alone(tokenizer: Any, family: str) -> RewardFunction:
    """Reasoning and answer, and no verdict: there is no judge."""

    async def unjudged(sample: Sample) -> Reward:
        parts = split(
            *(sample.prompt_ids, sample.completion_ids, tokenizer, sample.finish_reason, family)
        )
        return Reward(
            value=None,
            tier="",
            cause=None,
            answer=parts.answer,
            reasoning=parts.reasoning,
            rationale="",
            status=parts.status,
            judge_latency_s=None,
        )

    return unjudged
