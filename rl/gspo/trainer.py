"""TRL's GRPO trainer with GSPO's update. Call `make_trainer_class` after the backend is up.

The training loop, the optimizer and the checkpoints stay TRL's. Sampling is not: a generation is
pulled, and TRL's own path to one is never entered. The loop calls three hooks, which TRL has kept
over its releases and Unsloth's rewritten trainer still calls:

    _prepare_inputs   before the first micro-batch of a generation:
                        next_generation(number)  -> Generation   sampled, judged; the whole of it
                        count_votes              -> Votes        rewards to advantages
                        Update                   -> the plan of its steps, old log-probabilities
                      before every micro-batch: the next one of the plan
    compute_loss      the micro-batch's share of its step's loss
    log               after every step; after a generation's last: on_generation(its metrics)

What lies between two of these calls is one `_Underway`. `number` counts generations from 1 and is
read off the trainer's step, so a resumed run asks for the one that comes next.

`on_generation(row, generation, advantages)` is called in every process: the metrics, the value that
`next_generation` gave, and its rows' advantages, None where a row is dead. A row with `stop_reason`
is the last: the KL limit ended the run, or something was not finite (`rl/run/finite.py`).
`on_checkpoint(folder)` is called in the main process once all have written their part there.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rl.config.gspo import GSPOConfig
from rl.gspo.advantages import Votes, count_votes
from rl.gspo.batch import Batch
from rl.gspo.diagnostics import WAY_OUT, RowTable, broken_metric, update_metrics
from rl.gspo.generation import Generation, NextGeneration
from rl.gspo.head import attach_token_head
from rl.gspo.reference import BetaController, KlLimit, Reference, sampler_mismatch
from rl.gspo.update import MicroBatch, Ranks, Update

OnCheckpoint = Callable[[Path], None]
OnGeneration = Callable[[dict[str, Any], Generation, list[float | None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Underway:
    """The generation that is being learned from."""

    number: int
    generation: Generation
    votes: Votes
    update: Update
    began_s: float
    grad_norms: list[float] = field(default_factory=list[float])


@functools.cache
def make_trainer_class() -> type:
    """The class, made now: a backend that rewrites TRL must have done so before its first use."""
    import trl

    from rl.run.finite import FiniteSteps

    class GSPOTrainer(trl.GRPOTrainer):
        def __init__(
            self,
            *,
            settings: GSPOConfig,
            next_generation: NextGeneration,
            on_generation: OnGeneration,
            on_checkpoint: OnCheckpoint | None = None,
            **kwargs: Any,
        ) -> None:
            super().__init__(
                reward_funcs=_rewards_of_the_generation,
                train_dataset=_beat(settings),
                **kwargs,
            )
            self.settings = settings
            self.next_generation, self.on_generation = next_generation, on_generation
            self.on_checkpoint = on_checkpoint
            self.kl_limit = KlLimit(settings.kl_limit)
            self.beta_controller = BetaController(settings.beta, settings.kl_target)
            self.stop_reason: str | None = None
            self._underway: _Underway | None = None
            adapted = hasattr(self.model, "get_base_model")
            base = self.model.get_base_model() if adapted else self.model
            attach_token_head(base, temperature=self.args.temperature)
            # Of a whole model the copy is as large as the model: kept only where the loss needs it.
            self._reference = Reference(self.model) if adapted or settings.beta else None
            self._finite_steps = FiniteSteps(
                anywhere=self._in_any_process, keeps_weights=adapted, way_out=WAY_OUT
            )
            self.add_callback(self._finite_steps)

        def state_dict(self) -> dict[str, Any]:
            """What a resumed run needs beside weights, optimizer and step. Plain JSON."""
            return {"beta": self.beta_controller.beta, "kl_recent": self.kl_limit.recent}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.beta_controller.beta = state["beta"]
            self.kl_limit.recent = state["kl_recent"]

        def _prepare_inputs(self, inputs: Any) -> MicroBatch:
            if self._underway is None:
                history = self.state.log_history
                if history and "gspo" in history[-1]:  # of a checkpoint
                    self.load_state_dict(history[-1]["gspo"])
            if self._underway is None or self._underway.update.exhausted:
                self._underway = self._begin_generation()
            return self._underway.update.next_micro_batch()

        def _begin_generation(self) -> _Underway:
            number = self.state.global_step // self.settings.minibatches + 1
            generation = self.next_generation(number)
            began_s = time.perf_counter()
            votes = count_votes(generation, self.settings)
            device, ranks = self.accelerator.device, self._ranks()
            rows = self.settings.rows // ranks.count
            mine = slice(ranks.index * rows, (ranks.index + 1) * rows)
            logprobs = generation.logprobs
            update = Update(
                self.accelerator.unwrap_model(self.model),
                Batch.of(
                    generation.prompt_ids[mine],
                    generation.completion_ids[mine],
                    None if logprobs is None else logprobs[mine],
                    device,
                ),
                votes.advantages_N[mine].to(device),
                votes.live_N[mine].to(device),
                settings=self.settings,
                reference=self._reference,
                beta=self.beta_controller.beta,
                max_length=self.args.max_completion_length,
                ranks=ranks,
                seed=self.args.seed,
                generation=number,
            )
            return _Underway(
                number=number, generation=generation, votes=votes, update=update, began_s=began_s
            )

        def _ranks(self) -> Ranks:
            return Ranks(
                self.accelerator.num_processes,
                self.accelerator.process_index,
                lambda counts: self.accelerator.reduce(counts, reduction="sum"),
            )

        def _in_any_process(self, so: bool) -> bool:
            count = torch.tensor(float(so), device=self.accelerator.device)
            return bool(self.accelerator.reduce(count, reduction="sum"))

        def compute_loss(
            self,
            model: nn.Module,
            inputs: MicroBatch,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Tensor:
            assert self._underway
            return self._finite_steps.watch(self._underway.update.loss(model, inputs))

        def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
            # Logs without a learning rate are HF's last words, after training.
            if "learning_rate" in logs:
                assert self._underway
                self._underway.grad_norms.append(logs["grad_norm"])
                if self._underway.update.exhausted or self._finite_steps.broken:
                    self._end_generation(self._underway, logs)
                logs["gspo"] = self.state_dict()
            super().log(logs, start_time)

        def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.on_checkpoint and self.accelerator.is_main_process:
                self.on_checkpoint(
                    Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
                )

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """TRL's would call this GRPO, and ask an offline W&B run for its address."""

        def _end_generation(self, done: _Underway, logs: dict[str, Any]) -> None:
            mine = done.update.table
            table = RowTable(*self.accelerator.gather((mine.values_BC, mine.measured_BC)))
            row: dict[str, Any] = {
                "generation": done.number,
                "step": self.state.global_step,
                "lr": logs["learning_rate"],
                "grad_norm": sum(done.grad_norms) / len(done.grad_norms),
                **done.votes.metrics(),
                **update_metrics(
                    table,
                    clip_low=self.settings.clip_low,
                    clip_high=self.settings.clip_high,
                ),
                "time/update_s": time.perf_counter() - done.began_s,
            }
            if done.update.beta:
                row["beta"] = done.update.beta
            self.stop_reason = (
                self._finite_steps.broken
                or broken_metric(row)
                or sampler_mismatch(row.get("kl/sampler"), self.settings.mismatch_limit)
            )
            if not self.stop_reason:
                kl = row.get("kl/ref")
                self.beta_controller.observe(kl)
                self.stop_reason = self.kl_limit.check(kl)
                self.control.should_save |= self.stop_reason is not None
            if self.stop_reason:
                row["stop_reason"] = self.stop_reason
                self.control.should_training_stop = True
            self.on_generation(row, done.generation, done.votes.advantages())

    return GSPOTrainer


def _rewards_of_the_generation(prompts: Sequence[Any], **_: Any) -> list[float]:
    raise AssertionError("a generation brings its rewards; TRL has nothing to score")


def _beat(settings: GSPOConfig) -> Any:
    """Rows that say nothing: TRL's loop runs once through them for each generation."""
    from datasets import Dataset

    return Dataset.from_dict({"prompt": [""] * settings.prompts})
