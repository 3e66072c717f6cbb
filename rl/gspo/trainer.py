"""TRL's GRPO trainer with GSPO's update. Call `make_trainer_class` after the backend is up.

What stays TRL's: prompts to groups, the rollout call, the training loop, checkpoints. What is ours:
advantages, the order of rows, the loss, the metrics. Only hooks are overridden that TRL has kept
over its releases and that Unsloth's rewritten trainer still calls.

`rollout_func(prompts, trainer)` is TRL's public hook. It gets this rank's prompts, repeated
for their groups, and returns an entry a prompt in `prompt_ids`, `completion_ids`, `logprobs` (the
sampler's, of the sampled tokens; None if it has none) and `reward` (None is a verdict that never
came). Optional: `truncated` (bools; see the setting) and `dead_cause` (why a reward is None).

`on_generation(row)` gets each generation's metrics, on the main process. A row with `stop_reason`
is the last: the KL limit ended the run. `trainer.last_advantages` has the rows' advantages.
"""

import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rl.config import GSPOConfig
from rl.gspo.advantages import Advantages, group_advantages
from rl.gspo.batch import Batch
from rl.gspo.diagnostics import RowTable, update_metrics
from rl.gspo.head import attach_token_head
from rl.gspo.kl_guard import BetaController, KlLimit
from rl.gspo.reference import Reference
from rl.gspo.update import Ranks, Update

RolloutFunc = Callable[[list[Any], Any], dict[str, Any]]
OnGeneration = Callable[[dict[str, Any]], None]


@functools.cache
def make_trainer_class() -> type:
    """The class, made now: a backend that rewrites TRL must have done so before its first use."""
    import accelerate.utils
    import trl

    class GSPOTrainer(trl.GRPOTrainer):
        def __init__(
            self,
            *,
            settings: GSPOConfig,
            rollout_func: RolloutFunc,
            on_generation: OnGeneration,
            **kwargs: Any,
        ) -> None:
            super().__init__(
                reward_funcs=_rewards_of_the_rollout,
                rollout_func=self._keep_rollout(rollout_func),
                **kwargs,
            )
            self.settings, self.on_generation = settings, on_generation
            self.kl_limit = KlLimit(settings.kl_limit)
            self.beta_controller = BetaController(settings.beta, settings.kl_target)
            self.stop_reason: str | None = None
            # Of the last generation, every rank's rows in rollout order; None where a row is dead.
            self.last_advantages: list[float | None] = []
            adapted = hasattr(self.model, "get_base_model")
            base = self.model.get_base_model() if adapted else self.model
            attach_token_head(base, temperature=self.args.temperature)
            # Of a whole model the copy is as large as the model: kept only where the loss needs it.
            self._reference = Reference(self.model) if adapted or settings.beta else None

        def _keep_rollout(self, rollout_func: RolloutFunc) -> RolloutFunc:
            def keep(prompts: list[Any], trainer: Any) -> dict[str, Any]:
                rollout = rollout_func(prompts, trainer)
                if self.settings.old_policy == "sampler" and rollout["logprobs"] is None:
                    raise ValueError(
                        "gspo.old_policy is sampler, but these rollouts come without the sampler's"
                        " log-probs. Type --gspo.old-policy trainer"
                    )
                self._rollout = rollout
                # TRL looks at every completion's last token; ours in `_rollout` stays empty.
                filler = [trainer.eos_token_ids[0]]
                return {
                    "prompt_ids": rollout["prompt_ids"],
                    "completion_ids": [ids or filler for ids in rollout["completion_ids"]],
                    "logprobs": None,
                }

            return keep

        def _calculate_rewards(
            self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
        ) -> Tensor:
            device = self.accelerator.device
            rewards_B = torch.tensor(
                [math.nan if r is None else float(r) for r in self._rollout["reward"]],
                device=device,
            )
            causes = list(self._rollout.get("dead_cause") or ["no_verdict"] * len(rewards_B))
            for row in self._unusable_rows():
                rewards_B[row], causes[row] = math.nan, "no_logprobs"
            if self.settings.truncated == "dead":
                for row, cut in enumerate(self._rollout.get("truncated") or ()):
                    if cut:
                        rewards_B[row], causes[row] = math.nan, "truncated"
            for row in rewards_B.isinf().nonzero().flatten().tolist():
                rewards_B[row], causes[row] = math.nan, "infinite_reward"
            self._causes = accelerate.utils.gather_object(causes)
            self._rewards_N = self.accelerator.gather(rewards_B)
            return self._rewards_N[:, None]

        def _unusable_rows(self) -> list[int]:
            if self.settings.old_policy != "sampler":
                return []
            return [
                row
                for row, logps in enumerate(self._rollout["logprobs"])
                if any(logp is None or not math.isfinite(logp) for logp in logps)
            ]

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            with self._parent_spends_no_forward():
                super()._generate_and_score_completions(inputs)
            self._update_began = time.perf_counter()
            scored = group_advantages(
                self._rewards_N.view(-1, self.num_generations),
                scale=self.settings.scale_rewards,
                quorum=self.settings.quorum,
            )
            self._scored = scored
            advantages_N, live_N = scored.advantages_GK.flatten(), scored.live_GK.flatten()
            self.last_advantages = [
                advantage if live else None
                for advantage, live in zip(advantages_N.tolist(), live_N.tolist(), strict=True)
            ]
            rank, rows = self.accelerator.process_index, len(inputs)
            mine = slice(rank * rows, (rank + 1) * rows)
            generation = self.state.global_step // self.settings.minibatches + 1
            self.beta_controller.resume(self.state.log_history)
            self._update = Update(
                self.accelerator.unwrap_model(self.model),
                Batch.of(
                    self._rollout["prompt_ids"],
                    self._rollout["completion_ids"],
                    self._rollout["logprobs"],
                    self.accelerator.device,
                ),
                advantages_N[mine],
                live_N[mine],
                settings=self.settings,
                reference=self._reference,
                beta=self.beta_controller.beta,
                max_length=self.args.max_completion_length,
                ranks=Ranks(
                    self.accelerator.num_processes,
                    rank,
                    lambda counts: self.accelerator.reduce(counts, reduction="sum"),
                ),
                seed=self.args.seed,
                generation=generation,
            )
            self._grad_norms: list[float] = []
            # TRL shuffles and splits what it is given; the update keeps its own order.
            return {"row": torch.arange(rows)}

        def compute_loss(
            self,
            model: nn.Module,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Tensor:
            return self._update.loss(model)

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            # Logs without a learning rate are HF's last words, after training.
            if "learning_rate" in logs:
                self._grad_norms.append(logs["grad_norm"])
                if self._update.exhausted:
                    self._end_generation(logs)
                logs["beta"] = self.beta_controller.beta
            super().log(logs, start_time)

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """TRL's would call this GRPO, and ask an offline W&B run for its address."""

        def _end_generation(self, logs: dict[str, float]) -> None:
            values_NC = self.accelerator.gather(self._update.table.values_BC)
            row: dict[str, Any] = {
                "generation": self.state.global_step // self.settings.minibatches,
                "step": self.state.global_step,
                "lr": logs["learning_rate"],
                "grad_norm": sum(self._grad_norms) / len(self._grad_norms),
                **_reward_metrics(self._rewards_N, self._scored, self._causes),
                **update_metrics(
                    RowTable(values_NC),
                    clip_low=self.settings.clip_low,
                    clip_high=self.settings.clip_high,
                ),
                "time/update_s": time.perf_counter() - self._update_began,
            }
            if self._update.beta:
                row["beta"] = self._update.beta
            kl = row.get("kl/ref")
            self.beta_controller.observe(kl)
            self.stop_reason = self.kl_limit.check(kl)
            if self.stop_reason:
                row["stop_reason"] = self.stop_reason
                self.control.should_save = self.control.should_training_stop = True
            if self.accelerator.is_main_process:
                self.on_generation(row)

        @contextmanager
        def _parent_spends_no_forward(self) -> Iterator[None]:
            """The update makes its own old log-probabilities, of fewer rows.

            TRL makes none for a window no longer than the accumulation: to it, that is on-policy.
            """
            args, window = self.args, self.args.steps_per_generation
            args.steps_per_generation = args.gradient_accumulation_steps
            try:
                yield
            finally:
                args.steps_per_generation = window

    return GSPOTrainer


def _rewards_of_the_rollout(prompts: Sequence[Any], **_: Any) -> list[float]:
    raise AssertionError("the rollout brings its rewards; TRL has nothing to score")


def _reward_metrics(
    rewards_N: Tensor, scored: Advantages, causes: Sequence[str]
) -> dict[str, float]:
    """What the verdicts were, and why a row does not vote."""
    live_N = scored.live_GK.flatten()
    judged_N = ~rewards_N.isnan()
    live, rows = int(live_N.sum()), len(live_N)
    metrics: dict[str, float] = {
        "rows/live": live,
        "rows/dead": rows - live,
        "groups/zero_spread": int(scored.zero_spread_G.sum()),
    }
    dead = Counter(
        "below_quorum" if judged else cause
        for cause, judged, votes in zip(causes, judged_N.tolist(), live_N.tolist(), strict=True)
        if not votes
    )
    metrics |= {f"rows/dead_{cause}": count for cause, count in sorted(dead.items())}
    if live:
        metrics["reward/mean"] = float(rewards_N[live_N].mean())
        metrics["reward/std"] = float(rewards_N[live_N].std(correction=0))
    return metrics
