"""TRL's settings that a run may not be given, each with what to type instead. Without torch."""

from rl.trl_settings import TrlTable

_OURS = {
    "learning_rate": "--sft.learning-rate",
    "lr_scheduler_type": "--sft.schedule",
    "warmup_steps": "--sft.warmup-share",
    "weight_decay": "--sft.weight-decay",
    "optim": "--sft.optimizer",
    "bf16": "--policy.dtype",
    "fp16": "--policy.dtype",
    "max_length": "--sft.max-tokens",
    "packing": "--sft.packing",
    "per_device_train_batch_size": "--sft.micro-batch-rows",
    "gradient_accumulation_steps": "--sft.batch-rows and --sft.micro-batch-rows",
    "max_steps": "--sft.steps",
    "num_train_epochs": "--sft.epochs",
    "eval_steps": "--evaluate-every",
    "save_steps": "--save-every",
    "gradient_checkpointing": "--policy.gradient-checkpointing",
    "output_dir": "--out and --name",
    "report_to": "--tracking.mode",
    "seed": "--seed",
}
_RENDERED = "rows come to the trainer as tokens, with what is learnt decided by position"
_REFUSED = {
    "assistant_only_loss": _RENDERED,
    "completion_only_loss": _RENDERED,
    "chat_template_path": _RENDERED,
    "dataset_text_field": _RENDERED,
    "eos_token": _RENDERED,
    "pad_token": _RENDERED,
    "truncation_mode": "a row that is too long is left out, never cut",
    "packing_strategy": "--sft.packing keeps rows whole",
    "padding_free": "it is what --sft.packing does",
    "eval_packing": "held-out rows are never packed",
    "eval_strategy": "held-out rows are measured by --evaluate-every",
    "train_sampling_strategy": "the order is a function of the seed",
    "shuffle_dataset": "the order is a function of the seed",
    "dataloader_drop_last": "every step has all its rows",
    "average_tokens_across_devices": "every learnt token of a step counts alike",
    "loss_type": "the loss is the mean over the learnt tokens of a step",
    "label_smoothing_factor": "the loss is the mean over the learnt tokens of a step",
    "logging_steps": "metrics need every step's log",
    "logging_strategy": "metrics need every step's log",
    "load_best_model_at_end": "the best adapter is kept anyway, with --evaluate-every",
}

TRL = TrlTable(config="sft_config", ours=_OURS, refused=_REFUSED)
