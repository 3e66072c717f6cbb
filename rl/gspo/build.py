"""A trainer out of a config: every hyperparameter said to TRL, none left to its defaults.

Backends change TRL's defaults (Unsloth does), and TRL's own move between releases.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rl.config.gspo import GSPOConfig
from rl.gspo.generation import NextGeneration
from rl.gspo.head import refuse_adapted_head
from rl.gspo.refusals import TRL, check_batch
from rl.gspo.trainer import OnCheckpoint, OnGeneration, make_trainer_class
from rl.trl_settings import common_arguments


def build_trainer(
    gspo: GSPOConfig,
    *,
    policy: Any,
    next_generation: NextGeneration,
    on_generation: OnGeneration,
    on_checkpoint: OnCheckpoint | None = None,
    output_dir: Path,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    save_every: int = 0,
    trl_overrides: Mapping[str, Any] | None = None,
) -> Any:
    """A GSPOTrainer; `.train()` runs it. See `rl.gspo.trainer` for what the callables do.

    `policy` has a `model` and a `tokenizer`. `save_every` counts generations, 0 for no checkpoints.
    `trl_overrides` are `GRPOConfig` fields, applied last.
    """
    import trl
    from accelerate import PartialState
    from transformers import PrinterCallback

    refuse_adapted_head(policy.model)
    overrides = dict(trl_overrides or {})
    TRL.check(overrides)
    ranks = PartialState(cpu=not torch.cuda.is_available()).num_processes
    check_batch(gspo, ranks=ranks)
    arguments = trl_arguments(
        gspo,
        ranks=ranks,
        output_dir=output_dir,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        save_every=save_every,
        bf16=next(policy.model.parameters()).dtype == torch.bfloat16,
    )
    known = {field.name for field in dataclasses.fields(trl.GRPOConfig)}
    if lacking := sorted(arguments.keys() - known):
        raise ValueError(
            f"TRL {trl.__version__} has no setting {', '.join(lacking)}, which is relied on here."
            " Type: pip install 'trl>=1.15,<1.17'"
        )
    if unknown := sorted(overrides.keys() - known):
        raise ValueError(f"--trl {unknown[0]}: TRL {trl.__version__} has no such setting")
    trainer = make_trainer_class()(
        settings=gspo,
        model=policy.model,
        args=trl.GRPOConfig(**(arguments | overrides)),
        processing_class=policy.tokenizer,
        next_generation=next_generation,
        on_generation=on_generation,
        on_checkpoint=on_checkpoint,
    )
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise ValueError(
            "The update needs whole weights in every process, and FSDP or DeepSpeed would split"
            " them. Launch without: accelerate launch --multi_gpu"
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def trl_arguments(
    gspo: GSPOConfig,
    *,
    ranks: int,
    output_dir: Path,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    save_every: int,
    bf16: bool,
) -> dict[str, Any]:
    micro_batches = gspo.rows // (ranks * gspo.minibatches * gspo.micro_batch_rows)
    common = common_arguments(
        output_dir=output_dir,
        seed=seed,
        save_steps=save_every * gspo.minibatches,
        bf16=bf16,
        has_cuda=torch.cuda.is_available(),
    )
    return common | {
        # The shape of a generation.
        "max_steps": gspo.generations * gspo.minibatches,
        "num_generations": gspo.group_size,
        "per_device_train_batch_size": gspo.micro_batch_rows,
        "gradient_accumulation_steps": micro_batches,
        "steps_per_generation": gspo.minibatches * micro_batches,
        "num_iterations": 1,
        "max_completion_length": max_new_tokens,
        "remove_unused_columns": False,
        # A resumed run knows its next generation from its step; no rows have to be gone through.
        "ignore_data_skip": True,
        # The pace.
        "learning_rate": gspo.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": gspo.warmup_steps,
        "weight_decay": 0.0,
        # The objective. The update is ours; these keep the parent from warning about its own.
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "epsilon": gspo.clip_low,
        "epsilon_high": gspo.clip_high,
        "delta": None,
        "beta": 0.0,
        "scale_rewards": gspo.scale_rewards,
        "use_bias_correction_kl": False,
        "mask_truncated_completions": False,
        "top_entropy_quantile": 1.0,
        "entropy_coef": 0.0,
        "use_adaptive_entropy": False,
        "off_policy_mask_threshold": None,
        "disable_dropout": True,
        # Sampling, as far as log-probabilities depend on it.
        "temperature": temperature,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": None,
        "repetition_penalty": 1.0,
        "use_vllm": False,
        "log_completions": False,
    }
