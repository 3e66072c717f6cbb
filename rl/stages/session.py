"""What happens in every generation of a run: sample and judge, then write down what came of it."""

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from judges.judge import Judge
from judges.stats import JudgeStats
from judges.verdict import TURNED_AWAY
from rewards.judged import JudgedReward
from rl.config import RunConfig
from rl.data.order import rows_of
from rl.data.rows import Prompt
from rl.gspo.generation import Generation
from rl.policy.load import Policy
from rl.refusal import Refusal
from rl.rollout.background import Background
from rl.rollout.engine import Engine, Sampling
from rl.rollout.stream import (
    MISSING_SHARE,
    Rollout,
    RolloutBatch,
    fault_share,
    judged_through_outages,
    sample_and_judge,
)
from rl.run.checkpoint import Checkpoints
from rl.run.folder import HeldoutMoment, RunLog
from rl.run.progress import Progress, duration
from rl.run.summary import mean_reward
from rl.run.tracking import Tracker


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
    checkpoints: Checkpoints
    heldout: Sequence[Prompt] = ()
    before: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])
    """What the judge had been asked and had cost when this run was resumed."""
    generation: int = 0
    version: int = 0
    _heldout_reward: float | None = None

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
            **self._totals(),
            **batch.swap,
            "rollout/tokens_per_s": batch.tokens_per_s,
            "time/rollout_s": batch.sampling_s,
            "time/judge_wait_s": batch.judge_wait_s,
        }
        rollouts = [
            rollout.to_row(row["generation"], advantage)
            for rollout, advantage in zip(batch.rollouts, advantages, strict=True)
        ]
        self._heldout_reward = self._measured_on_the_way()
        if self._heldout_reward is not None:
            row["heldout/reward"] = self._heldout_reward
        self.log.metrics(row)
        self.log.rollouts(rollouts)
        self.tracker.log(row)
        self.tracker.log_rollouts(rollouts)
        self.progress.generation(row)
        if reason := row.get("stop_reason"):
            self.tracker.alert("The run was stopped", reason)

    def on_checkpoint(self, written: Path) -> None:
        """The trainer's part is written; with the run's it becomes a checkpoint."""
        state = {
            "generation": self.generation,
            "seconds": time.perf_counter() - self.began_s,
            "judged": self._judged(),
            "heldout_reward": self._heldout_reward,
        }
        self.checkpoints.seal(written, state)

    def ask_heldout(self, moment: HeldoutMoment) -> float | None:
        """The mean reward of greedy answers to the held-out questions, judged and written down."""
        if not self.heldout:
            return None
        rows = self._heldout_rows()
        self.log.heldout(moment, rows)
        return mean_reward(rows)

    def _measured_on_the_way(self) -> float | None:
        every, last = self.config.evaluate_every, self.config.gspo.generations
        if not self.heldout or not every or self.generation % every or self.generation == last:
            return None
        self.progress.phase("held-out questions")
        rows = self._heldout_rows()
        self.log.heldout_during(rows)
        return mean_reward(rows)

    def _heldout_rows(self) -> list[dict[str, Any]]:
        batch = self._sample(self.heldout, temperature=0.0, seed=0)
        return [rollout.to_row(self.generation) for rollout in batch.rollouts]

    def _sample(self, prompts: Sequence[Prompt], *, temperature: float, seed: int) -> RolloutBatch:
        sampling = Sampling(
            max_new_tokens=self.config.rollout.max_new_tokens, temperature=temperature, seed=seed
        )

        self.version += 1
        swap = self.background.call(self.engine.publish(self.policy, self.version))
        batch = self.background.call(
            sample_and_judge(self.engine, self._reward, self.policy.tokenizer, prompts, sampling)
        )
        batch = self.background.call(
            judged_through_outages(batch, self._reward, self._wait_for_judge)
        )
        if fault_share(batch.rollouts, TURNED_AWAY) > MISSING_SHARE:
            said = [r.reward.rationale for r in batch.rollouts if r.reward.cause in TURNED_AWAY]
            raise Refusal(
                f"the judge turns requests away: {said[0]}. Check its key, --judge.model and "
                "--judge.url"
            )
        return dataclasses.replace(batch, swap=swap)

    async def _wait_for_judge(self) -> None:
        await self.judge.wait_until_alive(on_pause=self._on_pause, on_resume=self._on_resume)

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
        return {f"judge_{name}": count for name, count in self._judged().items()}

    def _judged(self) -> dict[str, float]:
        stats = self.judge.stats()
        here = {
            "verdicts": stats.requests,
            "calls": stats.calls,
            "faults": stats.fault_count,
            "tokens": stats.usage.tokens,
            "usd": stats.usage.usd,
        }
        return {name: count + self.before.get(name, 0) for name, count in here.items()}

    def _totals(self) -> dict[str, float]:
        """Of the whole run so far: what one watches while it is spent."""
        judged = self._judged()
        return {"judge/tokens": judged["tokens"], "judge/usd": judged["usd"]}


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
