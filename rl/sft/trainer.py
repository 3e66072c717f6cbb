"""TRL's SFT trainer, its loop and its loss, with a look at held-out rows and a stop at what is NaN.

`on_step(row)` gets each optimizer step's metrics in every process; a row with `stop_reason` is the
last. `on_checkpoint(folder, step, score)` is called in the main process once all have written their
part there; `score` is what the held-out loss says of it, the higher the better.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

OnStep = Callable[[dict[str, Any]], None]
OnCheckpoint = Callable[[Path, int, float | None], None]

HELDOUT_LOSS = "heldout/loss"
WAY_OUT = "Lower --sft.learning-rate, or use --policy.dtype float32"


@functools.cache
def make_trainer_class() -> type:
    """The class, made now: a backend that rewrites TRL must have done so before its first use."""
    import trl

    from rl.run.finite import FiniteSteps

    class SFTTrainer(trl.SFTTrainer):
        def __init__(
            self,
            *,
            heldout: Mapping[str, Any],
            evaluate_every: int,
            on_step: OnStep,
            on_checkpoint: OnCheckpoint | None,
            **kwargs: Any,
        ) -> None:
            super().__init__(**kwargs)
            self.heldout, self.evaluate_every = heldout, evaluate_every
            self.on_step, self.on_checkpoint = on_step, on_checkpoint
            self.stop_reason: str | None = None
            self._score: float | None = None
            self._best_loss = math.inf
            self._tokens_before = 0
            self._logged_s = time.perf_counter()
            self._finite_steps = FiniteSteps(
                anywhere=self._in_any_process,
                keeps_weights=hasattr(self.model, "get_base_model"),
                way_out=WAY_OUT,
            )
            self.add_callback(self._finite_steps)

        def heldout_losses(self) -> dict[str, float]:
            """The mean over all learnt tokens of the held-out rows, and over those of each domain
            where there are several; the same in every process."""
            if not self.heldout:
                return {}
            self.model.eval()
            sums = {domain: self._loss_sum(rows) for domain, rows in self.heldout.items()}
            self.model.train()
            self._metrics["eval"].clear()
            total = sum(loss for loss, _ in sums.values())
            losses = {HELDOUT_LOSS: total / sum(tokens for _, tokens in sums.values())}
            if len(sums) > 1:
                losses |= {
                    f"{HELDOUT_LOSS}/{domain}": loss / tokens
                    for domain, (loss, tokens) in sums.items()
                }
            return losses

        def _loss_sum(self, rows: Any) -> tuple[float, int]:
            """Over the learnt tokens, and how many they are."""
            at_once = self.args.per_device_train_batch_size
            total = torch.zeros((), dtype=torch.float64)
            tokens = 0
            for start in range(0, len(rows), at_once):
                batch = self._padded(rows.select(range(start, min(start + at_once, len(rows)))))
                learnt = int(batch["labels"][:, 1:].ne(-100).sum())
                loss, _, _ = self.prediction_step(self.model, batch, prediction_loss_only=True)
                total += loss.double().cpu() * learnt
                tokens += learnt
            return total.item(), tokens

        def _padded(self, rows: Any) -> dict[str, Tensor]:
            from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

            collate = DataCollatorForLanguageModeling(pad_token_id=self._tokenizer.pad_token_id)
            return collate(list(rows))

        def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
            return self._finite_steps.watch(loss) if self.model.training else loss

        def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
            # Logs without a learning rate are HF's last words, after training.
            if "learning_rate" in logs:
                best = self._best_before()
                self._end_step(logs, best)
                logs["best_heldout_loss"] = self._best_loss
            super().log(logs, start_time)

        def _best_before(self) -> float:
            """Of a resumed run too: what it logged is in its checkpoint."""
            history = self.state.log_history
            logged = history[-1].get("best_heldout_loss", math.inf) if history else math.inf
            return min(self._best_loss, logged)

        def _end_step(self, logs: Mapping[str, float], best_loss: float) -> None:
            step, last = self.state.global_step, self.state.max_steps
            row = {
                "step": step,
                "loss": logs["loss"],
                "lr": logs["learning_rate"],
                "grad_norm": logs["grad_norm"],
                "tokens_per_s": self._tokens_per_s(),
            }
            self._score, self._best_loss = None, best_loss
            self.stop_reason = self._finite_steps.broken
            is_due = self.evaluate_every and step % self.evaluate_every == 0
            if not self.stop_reason and (is_due or step == last):
                self._measure(row)
            if self.stop_reason:
                row["stop_reason"] = self.stop_reason
                self.control.should_training_stop = True
            self._logged_s = time.perf_counter()
            self.on_step(row)

        def _measure(self, row: dict[str, Any]) -> None:
            losses = self.heldout_losses()
            if not losses:
                return
            row |= losses
            loss = losses[HELDOUT_LOSS]
            if not math.isfinite(loss):
                self.stop_reason = f"heldout/loss is {loss} after step {row['step']}. {WAY_OUT}"
                return
            self._score = -loss
            if loss < self._best_loss:
                self._best_loss = loss
                self.control.should_save |= self.args.save_strategy != "no"

        def _tokens_per_s(self) -> float:
            tokens = self._total_train_tokens - self._tokens_before
            self._tokens_before = self._total_train_tokens
            return tokens / (time.perf_counter() - self._logged_s)

        def _in_any_process(self, so: bool) -> bool:
            count = torch.tensor(float(so), device=self.accelerator.device)
            return bool(self.accelerator.reduce(count, reduction="sum"))

        def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.on_checkpoint and self.accelerator.is_main_process:
                step = self.state.global_step
                self.on_checkpoint(
                    Path(self.args.output_dir) / f"checkpoint-{step}", step, self._score
                )

        def create_model_card(self, *_: Any, **__: Any) -> None:
            """The run's folder says what it is; TRL's card would ask an offline W&B run."""

    return SFTTrainer
