"""What happens in every generation of a run: sample and judge, then write down what came of it."""

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from judges.judge import Judge
from judges.stats import JudgeStats
from judges.verdict import OUTAGES, TURNED_AWAY
from rewards.judged import JudgedReward
from rl.config import RunConfig
from rl.data import Prompt
from rl.gspo.generation import Generation
from rl.order import rows_of
from rl.policy import Policy
from rl.progress import Progress, duration
from rl.rollout.background import Background
from rl.rollout.engine import Engine, Sampling
from rl.rollout.stream import (
    Rollout,
    RolloutBatch,
    fault_share,
    judged_again,
    sample_and_judge,
)
from rl.runlog import HeldoutMoment, RunLog
from rl.tracking import Tracker

# Where more of a generation's verdicts than this are missing, there is nothing to learn from it.
MISSING_SHARE = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedGeneration(Generation):
    """A generation with what it was made of, for the record."""

    batch: RolloutBatch
    judged_before: JudgeStats


@dataclasses.dataclass(kw_only=True)
class Session:
    """The open parts of a run, and the two callables that training drives it through."""

    config: RunConfig
    began_s: float
    prompts: Sequence[Prompt]
    policy: Policy
    engine: Engine
    judge: Judge
    background: Background
    log: RunLog
    tracker: Tracker
    progress: Progress
    generation: int = 0
    version: int = 0

    def __post_init__(self) -> None:
        self._reward = JudgedReward(self.judge, self.config.reward, self.policy.tokenizer)

    def next_generation(self, number: int) -> JudgedGeneration:
        """What the trainer pulls: the generation's questions, each sampled for its group."""
        self.generation = number
        judged_before = self.judge.stats()
        gspo = self.config.gspo
        asked = rows_of(number, seed=self.config.seed, prompts=gspo.prompts, rows=len(self.prompts))
        self.progress.phase("sampling and judging")
        batch = self._sample(
            [self.prompts[row] for row in asked for _ in range(gspo.group_size)],
            temperature=self.config.rollout.temperature,
            seed=self.config.seed * 1_000_003 + number,
        )
        self.progress.phase("updating")
        rollouts = batch.rollouts
        return JudgedGeneration(
            prompt_ids=[rollout.prompt.token_ids for rollout in rollouts],
            completion_ids=[rollout.completion.token_ids for rollout in rollouts],
            logprobs=[rollout.completion.logprobs for rollout in rollouts],
            rewards=[rollout.reward.value for rollout in rollouts],
            truncated=[rollout.completion.finish_reason == "length" for rollout in rollouts],
            causes=[rollout.reward.cause or "no_verdict" for rollout in rollouts],
            batch=batch,
            judged_before=judged_before,
        )

    def on_generation(
        self,
        update: dict[str, Any],
        generation: JudgedGeneration,
        advantages: Sequence[float | None],
    ) -> None:
        """The update is done: one row of metrics, one row a completion."""
        batch = generation.batch
        row = update | {
            "seconds": time.perf_counter() - self.began_s,
            **_tier_metrics(batch.rollouts),
            **judge_metrics(generation.judged_before, self.judge.stats()),
            "rollout/tokens_per_s": batch.tokens_per_s,
            "time/rollout_s": batch.sampling_s,
            "time/judge_wait_s": batch.judge_wait_s,
        }
        rollouts = [
            rollout.to_row(row["generation"], advantage)
            for rollout, advantage in zip(batch.rollouts, advantages, strict=True)
        ]
        self.log.metrics(row)
        self.log.rollouts(rollouts)
        self.tracker.log(row)
        self.tracker.log_rollouts(rollouts)
        self.progress.generation(row)
        if reason := row.get("stop_reason"):
            self.tracker.alert("The run was stopped", reason)

    def ask_heldout(self, prompts: Sequence[Prompt], moment: HeldoutMoment) -> list[dict[str, Any]]:
        """Greedy answers to the held-out questions, judged and written down."""
        if not prompts:
            return []
        batch = self._sample(prompts, temperature=0.0, seed=0)
        rows = [rollout.to_row(self.generation) for rollout in batch.rollouts]
        self.log.heldout(moment, rows)
        return rows

    def _sample(self, prompts: Sequence[Prompt], *, temperature: float, seed: int) -> RolloutBatch:
        sampling = Sampling(
            max_new_tokens=self.config.rollout.max_new_tokens, temperature=temperature, seed=seed
        )

        self.version += 1
        self.background.call(self.engine.publish(self.policy, self.version))
        batch = self.background.call(
            sample_and_judge(self.engine, self._reward, self.policy.tokenizer, prompts, sampling)
        )
        while fault_share(batch.rollouts, OUTAGES) > MISSING_SHARE:
            self.background.call(
                self.judge.wait_until_alive(on_pause=self._on_pause, on_resume=self._on_resume)
            )
            batch = self.background.call(judged_again(batch, self._reward))
        if fault_share(batch.rollouts, TURNED_AWAY) > MISSING_SHARE:
            said = [r.reward.rationale for r in batch.rollouts if r.reward.cause in TURNED_AWAY]
            raise ValueError(
                f"the judge turns requests away: {said[0]}. Check its key, --judge.model and "
                "--judge.url"
            )
        return batch

    def _on_pause(self) -> None:
        text = "The judge does not answer. The run waits; the policy does not move meanwhile."
        self.progress.note(text)
        self.tracker.alert("The judge is down", text)

    def _on_resume(self, seconds: float) -> None:
        text = f"The judge is back after {duration(seconds)}."
        self.progress.note(text)
        self.tracker.alert("The judge is back", text)

    def judged(self) -> dict[str, Any]:
        """What the judge was asked and cost in all, held-out questions included."""
        stats = self.judge.stats()
        return {
            "judge_verdicts": stats.requests,
            "judge_calls": stats.calls,
            "judge_faults": stats.fault_count,
            "judge_usd": stats.usage.usd,
        }


def judge_metrics(before: JudgeStats, now: JudgeStats) -> dict[str, Any]:
    """What the judge did in one generation, and where it stands after it."""
    return {
        "judge/faults": now.fault_count - before.fault_count,
        "judge/verdicts": now.requests - before.requests,
        "judge/calls": now.calls - before.calls,
        "judge/retries": (now.attempts - now.calls) - (before.attempts - before.calls),
        "judge/troubles": sum(now.troubles.values()) - sum(before.troubles.values()),
        "judge/disagreements": now.disagreements - before.disagreements,
        "judge/limit": now.limit,
        "judge/breaker_open": int(now.breaker_open),
        "judge/p50_s": now.p50_s,
        "judge/p95_s": now.p95_s,
        # of the whole run so far: what one watches while it is spent
        "judge/tokens": now.usage.tokens,
        "judge/usd": now.usage.usd,
    }


def _tier_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    tiers = Counter(rollout.reward.tier for rollout in rollouts)
    statuses = Counter(rollout.reward.status for rollout in rollouts)
    lengths = [len(rollout.completion.token_ids) for rollout in rollouts]
    return {
        **{f"tier/{tier}": count / len(rollouts) for tier, count in tiers.items()},
        **{f"rows/{status}": count for status, count in statuses.items()},
        "length/mean": fmean(lengths),
        "length/max": max(lengths),
    }
