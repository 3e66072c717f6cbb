"""Completions judged as they come: the judge works while the engine still samples."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from judges.together import all_to_their_end
from judges.verdict import OUTAGES, TURNED_AWAY
from rewards.judged import Sample
from rewards.tiers import Reward
from rl.data.rows import Prompt
from rl.refusal import Refusal
from rl.rollout.engine import Completion, Engine, Sampling

# Where more of a generation's verdicts than this are missing, there is nothing to learn from it.
MISSING_SHARE = 0.5

RewardFunction = Callable[[Sample], Awaitable[Reward]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One completion of one prompt, judged."""

    prompt: Prompt
    completion: Completion
    completion_text: str
    reward: Reward

    def to_row(self, generation: int, advantage: float | None = None) -> dict[str, Any]:
        row, reward = self.prompt.row, self.reward
        return {
            "generation": generation,
            "id": row.id,
            "question": row.question,
            "truth": row.answer,
            "reasoning": reward.reasoning,
            "answer": reward.answer,
            "completion": self.completion_text,
            "tier": reward.tier,
            "reward": reward.value,
            "advantage": advantage,
            "status": reward.status,
            "finish_reason": self.completion.finish_reason,
            "rationale": reward.rationale,
            "n_tokens": len(self.completion.token_ids),
            "judge_latency_s": reward.judge_latency_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch:
    """In the order of the prompts, with what it took."""

    rollouts: list[Rollout]
    sampling_s: float
    judge_wait_s: float
    """From the last completion to the last verdict: what the judge cost the run."""
    swap: Mapping[str, float] = field(default_factory=dict[str, float])
    """What was measured when the engine took the policy over."""

    @property
    def tokens_per_s(self) -> float:
        return sum(len(r.completion.token_ids) for r in self.rollouts) / self.sampling_s


async def sample_and_judge(
    engine: Engine,
    reward: RewardFunction,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    sampling: Sampling,
) -> RolloutBatch:
    began = time.perf_counter()
    judging: list[asyncio.Task[Rollout]] = []
    try:
        async for completion in engine.stream([p.token_ids for p in prompts], sampling):
            prompt = prompts[completion.prompt]
            judging.append(asyncio.create_task(_judge(reward, tokenizer, prompt, completion)))
        sampled = time.perf_counter()
        rollouts = await all_to_their_end(judging)
    finally:
        for task in judging:
            task.cancel()
    return RolloutBatch(
        rollouts=sorted(rollouts, key=lambda rollout: rollout.completion.prompt),
        sampling_s=sampled - began,
        judge_wait_s=time.perf_counter() - sampled,
    )


async def judged_through_outages(
    batch: RolloutBatch, reward: RewardFunction, wait_until_alive: Callable[[], Awaitable[None]]
) -> RolloutBatch:
    """What an outage left without a verdict is asked again, whenever the judge answers again.

    A few rows may be what the judge cannot answer in time, however often: once a round among a
    minority of them settles none while the judge is up, they stay without a verdict.
    """
    missing = fault_share(batch.rollouts, OUTAGES)
    while missing:
        await wait_until_alive()
        batch = await judged_again(batch, reward)
        before, missing = missing, fault_share(batch.rollouts, OUTAGES)
        if missing >= before and missing <= MISSING_SHARE:
            break
    return batch


def fault_share(rollouts: Sequence[Rollout], causes: Container[str | None]) -> float:
    """The part of the rows for which the judge was asked that ended in one of these faults."""
    asked = [rollout for rollout in rollouts if rollout.reward.judge_latency_s is not None]
    hit = sum(rollout.reward.cause in causes for rollout in asked)
    return hit / len(asked) if asked else 0.0


def refuse_turned_away(rollouts: Sequence[Rollout]) -> None:
    if fault_share(rollouts, TURNED_AWAY) > MISSING_SHARE:
        said = [r.reward.rationale for r in rollouts if r.reward.cause in TURNED_AWAY]
        raise Refusal(
            f"the judge turns requests away: {said[0]}. Check its key, --judge.model and "
            "--judge.url"
        )


async def judged_again(batch: RolloutBatch, reward: RewardFunction) -> RolloutBatch:
    """The same completions; only what an outage left without a verdict is asked again."""
    began = time.perf_counter()
    rollouts = await all_to_their_end(
        _with_new_reward(rollout, reward) for rollout in batch.rollouts
    )
    waited_s = batch.judge_wait_s + time.perf_counter() - began
    return replace(batch, rollouts=list(rollouts), judge_wait_s=waited_s)


async def _with_new_reward(rollout: Rollout, reward: RewardFunction) -> Rollout:
    if rollout.reward.cause not in OUTAGES:
        return rollout
    return replace(rollout, reward=await reward(_sample(rollout.prompt, rollout.completion)))


async def _judge(
    reward: RewardFunction, tokenizer: Any, prompt: Prompt, completion: Completion
) -> Rollout:
    return Rollout(
        prompt=prompt,
        completion=completion,
        completion_text=tokenizer.decode(completion.token_ids, skip_special_tokens=False),
        reward=await reward(_sample(prompt, completion)),
    )


def _sample(prompt: Prompt, completion: Completion) -> Sample:
    return Sample(
        question=prompt.row.question,
        truth=prompt.row.answer,
        aliases=prompt.row.aliases,
        lang=prompt.row.lang,
        prompt_ids=prompt.token_ids,
        completion_ids=completion.token_ids,
        finish_reason=completion.finish_reason,
    )
