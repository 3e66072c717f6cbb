"""What is said to TRL's trainers: what all are told, and what a run may add.

Names are read from TRL's source: importing it takes seconds and checks the hardware.
"""

import ast
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.names import did_you_mean
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class TrlTable:
    """What `--trl name=value` may say to one of TRL's trainers."""

    config: str
    """Its module of settings, as in trl.trainer.grpo_config."""
    ours: Mapping[str, str]
    """Settings with a flag of their own here: one knob, one place."""
    refused: Mapping[str, str]
    """Settings that would mean nothing here, or the wrong thing, each with the reason."""
    refused_value: Callable[[str, object], str | None] = lambda name, value: None
    """The reason, where it depends on the value or on a part of the name."""

    def parse(self, overrides: Sequence[str]) -> dict[str, Any]:
        """`name=value` strings as a mapping; ValueError for a name that is not TRL's to set."""
        if not overrides:
            return {}
        known = _field_names(self.config)
        values: dict[str, Any] = {}
        for override in overrides:
            name, equals, text = override.partition("=")
            if not equals:
                raise ValueError(f"--trl {override}: write name=value, as in --trl adam_beta2=0.99")
            if name in self.ours:
                raise ValueError(f"--trl {name}: this is set by {self.ours[name]}")
            if name not in known:
                near = did_you_mean(name, known)
                raise ValueError(f"--trl {name}: TRL has no such setting{near}")
            values[name] = _literal(text)
        self.check(values)
        return values

    def check(self, overrides: Mapping[str, object]) -> None:
        for name, value in overrides.items():
            if reason := self.refused.get(name):
                raise Refusal(f"--trl {name}={value}: {reason}. Leave it out")
            if reason := self.refused_value(name, value):
                raise Refusal(f"--trl {name}={value}: {reason}")


def common_arguments(
    *, output_dir: Path, seed: int, save_steps: int, bf16: bool, has_cuda: bool
) -> dict[str, Any]:
    """`save_steps` 0 is for no checkpoints."""
    return {
        "output_dir": str(output_dir),
        "seed": seed,
        "data_seed": seed,
        "shuffle_dataset": False,
        "dataloader_num_workers": 0,
        # The optimizer.
        "optim": "adamw_torch",
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0,
        # The machine.
        "use_cpu": not has_cuda,
        "bf16": bf16,
        "fp16": False,
        "gradient_checkpointing": False,
        "ddp_find_unused_parameters": False,
        # Logging is ours. HF's must still run each step: it hands us loss and gradient norm.
        "report_to": "none",
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_first_step": False,
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "log_level_replica": "passive",
        "eval_strategy": "no",
        "save_strategy": "steps" if save_steps else "no",
        "save_steps": max(save_steps, 1),
    }


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


def _field_names(config: str) -> set[str]:
    files = (("trl", f"trainer/{config}.py"), ("trl", "trainer/base_config.py"))
    files += (("transformers", "training_args.py"),)
    return set().union(*(_annotated_names(package, file) for package, file in files))


def _annotated_names(package: str, file: str) -> set[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"--trl: the package {package} is not installed. Type: make setup")
    source = Path(spec.origin).parent / file
    if not source.is_file():
        return set()
    return {
        line.target.id
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }
