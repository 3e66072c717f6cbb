"""What happens in every generation of a run: sample and judge, then write down what came of it."""

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from judges.stats import JudgeStats
from rl.config.gspo import GSPORun
from rl.data.order import rows_of
from rl.data.rows import Prompt
from rl.gspo.generation import Generation
from rl.rollout.sampler import Sampler
from rl.rollout.stream import Rollout, RolloutBatch
from rl.run.folder import HeldoutMoment
from rl.run.lifecycle import OpenRun
from rl.run.summary import mean_reward
from rl.stages.heldout import ask


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedGeneration(Generation):
    """A generation with what it was made of, for the record."""

    batch: RolloutBatch
    judged_before: JudgeStats


@dataclasses.dataclass(kw_only=True)
class Session:
    """The open parts of a run, and what training drives it through."""

    run: OpenRun
    sampler: Sampler
    prompts: Sequence[Prompt]
    heldout: Sequence[Prompt]
    generation: int = 0
    _heldout_reward: float | None = None

    @property
    def config(self) -> GSPORun:
        return self.sampler.config

    def next_generation(self, number: int) -> JudgedGeneration:
        """What the trainer pulls: the generation's questions, each sampled for its group."""
        self.generation = number
        judged_before = self.sampler.judge.stats()
        gspo = self.config.gspo
        asked = rows_of(number, seed=self.config.seed, prompts=gspo.prompts, rows=len(self.prompts))
        self.run.progress.phase("sampling and judging")
        batch = self.sampler.sample(
            [self.prompts[row] for row in asked for _ in range(gspo.group_size)],
            temperature=self.config.rollout.temperature,
            seed=self.config.seed * 1_000_003 + number,
        )
        self.run.progress.phase("updating")
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
            "seconds": time.perf_counter() - self.run.began_s,
            **_tier_metrics(batch.rollouts),
            **judge_metrics(generation.judged_before, self.sampler.judge.stats()),
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
        self.run.log.metrics(row)
        self.run.log.rollouts(rollouts)
        self.run.tracker.log(row)
        self.run.tracker.log_rollouts(rollouts)
        self.run.progress.row(row)
        if reason := row.get("stop_reason"):
            self.run.tracker.alert("The run was stopped", reason)

    def on_checkpoint(self, written: Path) -> None:
        """The trainer's part is written; with the run's it becomes a checkpoint."""
        self.sampler.policy.write_base(written)
        state = {
            "done": self.generation,
            "seconds": time.perf_counter() - self.run.began_s,
            "judged": self.sampler.judged(),
            "score": self._heldout_reward,
        }
        self.run.log.checkpoints.seal(written, state)

    def ask_heldout(self, moment: HeldoutMoment) -> None:
        """Before training and after it: judged, written down and told."""
        if not self.heldout:
            return
        rows = self._heldout_rows()
        self.run.log.heldout(moment, rows)
        what = {"before": "held-out reward before training", "after": "held-out reward after it"}
        self.run.say_reward(what[moment], mean_reward(rows))

    def _measured_on_the_way(self) -> float | None:
        every, last = self.config.evaluate_every, self.config.gspo.generations
        if not self.heldout or not every or self.generation % every or self.generation == last:
            return None
        rows = self._heldout_rows()
        self.run.log.heldout_during(rows)
        return mean_reward(rows)

    def _heldout_rows(self) -> list[dict[str, Any]]:
        self.run.progress.phase("held-out questions")
        return ask(self.sampler, self.heldout, self.generation)

    def _totals(self) -> dict[str, float]:
        """Of the whole run so far: what one watches while it is spent."""
        judged = self.sampler.judged()
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
