"""How much faster than stock TRL is the update, and is it the same gradient?

    python -m experiments.bench.update [--layers 30] [--prompts 20] [--longest 256]
    python -m experiments.bench.update --shape qwen3.5-4b --longest 1024      # with a GPU

Both are given the same rollouts (skewed lengths, 30 % of the groups of one opinion) on copies of a
model of random weights in a real one's shape (less deep on a CPU), in one process, turn about.
Timed is all that lies between the rewards and the last optimizer step: old log-probabilities,
forwards, backwards. `speedup_by_trick` is what the update would lose without one, the others kept;
only `sampler_is_old` is off by default, and what it would gain. Seconds are the process's own on a
CPU, which other processes do not lengthen. The last line is one JSON object.
"""

import argparse
import contextlib
import dataclasses
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from experiments.bench.shapes import LAYERS, policy_of
from rl.config.gspo import GSPOConfig

MINIBATCHES, GROUP_SIZE = 4, 4
VOCABULARY = 49152


@dataclass
class Rollout:
    """The same completions at every call. Lengths are log-normal: a few rows are long."""

    prompts: int
    longest: int
    logprobs: list[list[float]] | None = None
    finished_s: float = 0.0
    clipped: float = 0.0
    rows: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        draw = torch.Generator().manual_seed(0)
        count = self.prompts * GROUP_SIZE
        lengths = torch.empty(count).log_normal_(generator=draw).mul(self.longest / 8).int()
        lengths = lengths.clamp(2, self.longest)
        lengths[0] = self.longest
        rewards = torch.randn(self.prompts, GROUP_SIZE, generator=draw)
        rewards[: round(0.3 * self.prompts)] = 0.5
        widths = torch.randint(20, 61, (self.prompts,), generator=draw)
        prompts = [torch.randint(9, VOCABULARY, (int(w),), generator=draw).tolist() for w in widths]
        self.rows = {
            "prompt_ids": [prompts[i // GROUP_SIZE] for i in range(count)],
            "completion_ids": [
                torch.randint(9, VOCABULARY, (int(n),), generator=draw).tolist() for n in lengths
            ],
            "reward": rewards.flatten().tolist(),
        }

    def score(self, model: Any) -> None:
        """Take the sampler's log-probabilities from the model itself: an exact sampler."""
        from rl.gspo.batch import Batch
        from rl.gspo.head import attach_token_head
        from rl.gspo.update import score

        attach_token_head(model.get_base_model(), temperature=1.0)
        ids, device = self.rows["completion_ids"], next(model.parameters()).device
        batch = Batch.of(self.rows["prompt_ids"], ids, None, device)
        with torch.no_grad():
            parts = [score(model, batch.take(torch.tensor([i])))[0][0] for i in range(len(ids))]
        self.logprobs = [part.tolist() for part in parts]

    def next_generation(self, _: int) -> Any:
        from rl.gspo.generation import Generation

        self.finished_s = _now_s()
        return Generation(
            prompt_ids=self.rows["prompt_ids"],
            completion_ids=self.rows["completion_ids"],
            rewards=self.rows["reward"],
            logprobs=self.logprobs,
        )

    def for_trl(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        self.finished_s = _now_s()
        return {**self.rows, "logprobs": self.logprobs}


@dataclass
class Run:
    seconds: float
    peak_mb: float
    gradients: list[Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=list(LAYERS), default="smollm2-135m")
    parser.add_argument("--layers", type=int, help="fewer than the model has; 6 on a CPU")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--prompts", type=int, default=10, help="groups of 4 completions")
    parser.add_argument("--longest", type=int, default=96, help="tokens of the longest completion")
    parser.add_argument("--micro-batch-rows", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=1.0, help="of plain SGD")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each; the median counts")
    options = parser.parse_args()
    if options.layers is None and not torch.cuda.is_available():
        options.layers = 6
    print(json.dumps(measure(options)))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    rollout = Rollout(options.prompts, options.longest)
    rollout.score(policy_of(options.shape, layers=options.layers, dtype=options.dtype).model)
    config = GSPOConfig(
        generations=1,
        prompts=options.prompts,
        group_size=GROUP_SIZE,
        minibatches=MINIBATCHES,
        micro_batch_rows=options.micro_batch_rows,
        learning_rate=options.learning_rate,
    )
    without = {
        "skip_zero_rows": _computing_every_row,
        "first_step_on_policy": _recomputing_the_first_step,
        "sort_and_trim": _padding_to_the_longest,
        "lean_head": _with_stock_head,
    }
    variants: dict[str, Callable[[], Run]] = {
        "stock": lambda: _stock_run(config, rollout, options),
        "ours": lambda: _our_run(config, rollout, options),
    }
    for trick, ablation in without.items():

        def run(ablation: Any = ablation) -> Run:
            with ablation():
                return _our_run(config, rollout, options)

        variants[trick] = run
    by_sampler = dataclasses.replace(config, old_policy="sampler")
    variants["sampler_is_old"] = lambda: _our_run(by_sampler, rollout, options)
    runs: dict[str, list[Run]] = {name: [] for name in variants}
    for repeat in range(options.repeats):
        for name, variant in variants.items():
            runs[name].append(variant())
            print(f"{name:22} run {repeat + 1}: {runs[name][-1].seconds:7.2f} s", flush=True)
    seconds = {name: median(run.seconds for run in done) for name, done in runs.items()}
    stock, ours = runs["stock"][0].gradients, runs["ours"][0].gradients
    tricks = {name: seconds[name] / seconds["ours"] for name in without}
    tricks["sampler_is_old"] = seconds["ours"] / seconds["sampler_is_old"]
    errors = {name: _relative_error(runs[name][0].gradients, stock) for name in tricks}
    return {
        "speedup": round(seconds["stock"] / seconds["ours"], 2),
        "speedup_by_trick": {name: round(value, 2) for name, value in tricks.items()},
        "grad_cosine": min(_cosine(a, b) for a, b in zip(ours, stock, strict=True)),
        "grad_rel_err": _relative_error(ours, stock),
        "grad_rel_err_by_trick": errors,
        "peak_mb": round(max(run.peak_mb for run in runs["ours"])),
        "peak_mb_trl": round(max(run.peak_mb for run in runs["stock"])),
        "clip_seq": rollout.clipped,
        "seconds": round(seconds["ours"], 2),
        "seconds_trl": round(seconds["stock"], 2),
        "shape": f"{options.shape}, {options.layers or LAYERS[options.shape]} layers",
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def _our_run(config: GSPOConfig, rollout: Rollout, options: argparse.Namespace) -> Run:
    from rl.gspo.build import build_trainer

    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(
            config,
            policy=policy_of(options.shape, layers=options.layers, dtype=options.dtype),
            next_generation=rollout.next_generation,
            on_generation=lambda row, *_: setattr(rollout, "clipped", row["clip/seq"]),
            output_dir=Path(folder),
            max_new_tokens=options.longest,
            temperature=1.0,
            seed=0,
            trl_overrides={"optim": "sgd", "max_grad_norm": 1e9},
        )
        return _timed(trainer, rollout)


def _stock_run(config: GSPOConfig, rollout: Rollout, options: argparse.Namespace) -> Run:
    import trl
    from datasets import Dataset

    from rl.gspo.build import trl_arguments

    def reward(prompts: Any, reward: list[float], **_: Any) -> list[float]:
        return reward

    policy = policy_of(options.shape, layers=options.layers, dtype=options.dtype)
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl_arguments(
            config,
            ranks=1,
            output_dir=Path(folder),
            max_new_tokens=options.longest,
            temperature=1.0,
            seed=0,
            save_every=0,
            bf16=options.dtype == "bfloat16",
        )
        trainer = trl.GRPOTrainer(
            model=policy.model,
            args=trl.GRPOConfig(**arguments | {"optim": "sgd", "max_grad_norm": 1e9}),
            train_dataset=Dataset.from_dict({"prompt": ["?"] * config.prompts}),
            processing_class=policy.tokenizer,
            reward_funcs=reward,
            rollout_func=rollout.for_trl,
        )
        # The same rows in the same step, in TRL's order otherwise: its shuffle is by chance.
        with mock.patch("trl.trainer.grpo_trainer.shuffle_sequence_dict", _deal_as_ours):
            return _timed(trainer, rollout)


def _timed(trainer: Any, rollout: Rollout) -> Run:
    from transformers import PrinterCallback, TrainerCallback

    gradients: list[Tensor] = []
    ended_s = 0.0

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
            trained = [p for p in model.parameters() if p.requires_grad]
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
            gradients.append(torch.cat([grad.flatten() for grad in grads]).cpu())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            nonlocal ended_s
            ended_s = _now_s()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Watch())
    gc.collect()
    before_mb = _reset_peak_mb()
    trainer.train()
    return Run(ended_s - rollout.finished_s, _peak_mb() - before_mb, gradients)


@contextlib.contextmanager
def _computing_every_row() -> Iterator[None]:
    from rl.gspo.update import Update

    with mock.patch.object(Update, "_moving", lambda self: self.live_B):
        yield


@contextlib.contextmanager
def _recomputing_the_first_step() -> Iterator[None]:
    from rl.gspo.update import Update

    with mock.patch.object(Update, "_samples_itself", return_value=False):
        yield


@contextlib.contextmanager
def _padding_to_the_longest() -> Iterator[None]:
    from rl.gspo.batch import Batch

    def untrimmed(self: Batch, rows: Tensor) -> Batch:
        logps_BT = self.sampler_logps_BT
        return Batch(
            ids_BL=self.ids_BL[rows],
            prompt_lengths_B=self.prompt_lengths_B[rows],
            lengths_B=self.lengths_B[rows],
            sampler_logps_BT=None if logps_BT is None else logps_BT[rows],
            scored_B=self.scored_B[rows],
        )

    def unsorted(rows: Tensor, _: Tensor, *, slots: int, size: int) -> list[Tensor]:
        parts = list(rows.split(size)) if len(rows) else []
        return [rows[:0]] * (slots - len(parts)) + parts

    with (
        mock.patch.object(Batch, "take", untrimmed),
        mock.patch("rl.gspo.update.micro_batches", unsorted),
    ):
        yield


@contextlib.contextmanager
def _with_stock_head() -> Iterator[None]:
    from rl.gspo.batch import Batch

    def score(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        scored_BL = batch.targets_BL() >= 0
        labels_BL = batch.ids_BL.masked_fill(~scored_BL.roll(1, dims=1), -100)
        out = model(input_ids=batch.ids_BL, labels=labels_BL, fused_lm_head=True)
        mask_BT = batch.mask_BT(int(batch.lengths_B.max()))
        blank_BT = out["log_probs"].new_zeros(mask_BT.shape)
        scored_BL = scored_BL[:, :-1]
        return tuple(
            blank_BT.masked_scatter(mask_BT, out[name][scored_BL])
            for name in ("log_probs", "entropy")
        )

    with mock.patch("rl.gspo.update.score", score):
        yield


def _deal_as_ours(batch: dict[str, Any]) -> dict[str, Any]:
    from rl.gspo.batch import spread_over_minibatches

    rows = len(batch["completion_ids"])
    step_of = spread_over_minibatches(rows, MINIBATCHES, first_row=0, seed=0, generation=1)
    order = step_of.argsort(stable=True).to(batch["completion_ids"].device)
    return {
        name: value[order] if isinstance(value, Tensor) and value.ndim else value
        for name, value in batch.items()
    }


def _relative_error(gradients: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest of any step."""
    steps = zip(gradients, wanted, strict=True)
    return max(float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in steps)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


def _now_s() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _reset_peak_mb() -> float:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _peak_mb() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return _status_mb("VmHWM")


def _status_mb(field_name: str) -> float:
    status = Path("/proc/self/status")
    if not status.is_file():
        return float("nan")
    line = next(x for x in status.read_text().splitlines() if x.startswith(field_name))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
