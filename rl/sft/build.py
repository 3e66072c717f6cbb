"""A trainer out of a config: every hyperparameter said to TRL, none left to its defaults.

Backends change TRL's defaults (Unsloth does), and TRL's own move between releases.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rl.config.sft import SFTConfig
from rl.refusal import Refusal
from rl.sft.batches import Batches
from rl.sft.packing import refuse_leaking
from rl.sft.refusals import TRL
from rl.sft.trainer import OnCheckpoint, OnStep, make_trainer_class
from rl.trl_settings import common_arguments


def check_batch(sft: SFTConfig, *, ranks: int) -> None:
    at_once = sft.micro_batch_rows * ranks
    if sft.batch_rows % at_once:
        fitting = at_once * math.ceil(sft.batch_rows / at_once)
        raise Refusal(
            f"sft.batch_rows is {sft.batch_rows}, which does not split into whole micro-batches of "
            f"{sft.micro_batch_rows} on {ranks} processes. Type --sft.batch-rows {fitting}"
        )


def build_trainer(
    sft: SFTConfig,
    *,
    policy: Any,
    batches: Batches,
    heldout: Mapping[str, Any],
    evaluate_every: int,
    save_every: int,
    output_dir: Path,
    seed: int,
    on_step: OnStep,
    on_checkpoint: OnCheckpoint | None = None,
    trl_overrides: Mapping[str, Any] | None = None,
) -> Any:
    """A trainer; `.train()` runs it. `heldout` has a data set for each domain."""
    import torch
    import trl
    from accelerate import PartialState
    from transformers import PrinterCallback

    overrides = dict(trl_overrides or {})
    TRL.check(overrides)
    if sft.packing:
        refuse_leaking(policy.model, model_name=policy.loaded.source)
    has_cuda = torch.cuda.is_available()
    arguments = trl_arguments(
        sft,
        steps=batches.steps,
        ranks=PartialState(cpu=not has_cuda).num_processes,
        output_dir=output_dir,
        seed=seed,
        save_every=save_every,
        dtype=policy.loaded.dtype,
        has_cuda=has_cuda,
    )
    with _learning_as_it_is(policy.model):
        trainer = make_trainer_class()(
            model=policy.model,
            args=trl.SFTConfig(**(arguments | overrides)),
            processing_class=policy.tokenizer,
            train_dataset=batches.in_order(sft, seed),
            heldout=heldout,
            evaluate_every=evaluate_every,
            on_step=on_step,
            on_checkpoint=on_checkpoint,
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


@contextlib.contextmanager
def _learning_as_it_is(model: Any) -> Iterator[None]:
    """TRL casts the adapter of a quantised model to bfloat16, where a step at a usual pace is lost
    in rounding, and which some GPUs compute only slowly."""
    before = [(each, each.data) for each in model.parameters() if each.requires_grad]
    yield
    for parameter, data in before:
        parameter.data = data


def trl_arguments(
    sft: SFTConfig,
    *,
    steps: int,
    ranks: int,
    output_dir: Path,
    seed: int,
    save_every: int,
    dtype: str,
    has_cuda: bool,
) -> dict[str, Any]:
    check_batch(sft, ranks=ranks)
    common = common_arguments(
        output_dir=output_dir,
        seed=seed,
        save_steps=save_every,
        bf16=dtype == "bfloat16",
        has_cuda=has_cuda,
    )
    return common | {
        "fp16": dtype == "float16",
        # Rows come as tokens with their labels, in the order they are learnt from.
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "packing": False,
        "padding_free": sft.packing,
        "eval_packing": False,
        "completion_only_loss": False,
        "assistant_only_loss": False,
        "pad_to_multiple_of": None,
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": True,
        "dataloader_drop_last": False,
        "ignore_data_skip": False,
        # The shape of a step.
        "max_steps": steps,
        "per_device_train_batch_size": sft.micro_batch_rows,
        "gradient_accumulation_steps": sft.batch_rows // (sft.micro_batch_rows * ranks),
        "average_tokens_across_devices": True,
        # The optimizer and its pace.
        "learning_rate": sft.learning_rate,
        "optim": sft.optimizer,
        **_schedule(sft, steps),
        "weight_decay": sft.weight_decay,
        # The objective.
        "loss_type": "nll",
        "label_smoothing_factor": 0.0,
        "neftune_noise_alpha": None,
        "use_liger_kernel": False,
        "activation_offloading": False,
        "load_best_model_at_end": False,
    }


def _schedule(sft: SFTConfig, steps: int) -> dict[str, Any]:
    warmup = math.ceil(sft.warmup_share * steps)
    schedule: dict[str, Any] = {"lr_scheduler_type": sft.schedule, "warmup_steps": warmup}
    if sft.schedule == "constant":
        schedule["lr_scheduler_type"] = "constant_with_warmup"
    if sft.decay_share is not None:
        decay = min(math.ceil(sft.decay_share * steps), steps - warmup)
        schedule["lr_scheduler_kwargs"] = {"num_decay_steps": decay, "decay_type": "cosine"}
    return schedule
