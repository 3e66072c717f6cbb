"""TRL's setting names, read from its source: importing it takes seconds and checks the hardware."""

import ast
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.gspo.refusals import check_trl
from rl.names import did_you_mean

OURS = {
    "learning_rate": "--gspo.learning-rate",
    "warmup_steps": "--gspo.warmup-steps",
    "epsilon": "--gspo.clip-low",
    "epsilon_high": "--gspo.clip-high",
    "beta": "--gspo.beta",
    "num_generations": "--gspo.group-size",
    "scale_rewards": "--gspo.scale-rewards",
    "per_device_train_batch_size": "--gspo.micro-batch-rows",
    "steps_per_generation": "--gspo.minibatches",
    "gradient_accumulation_steps": "--gspo.minibatches and --gspo.micro-batch-rows",
    "max_steps": "--gspo.generations",
    "num_train_epochs": "--gspo.generations",
    "max_completion_length": "--rollout.max-new-tokens",
    "temperature": "--rollout.temperature",
    "mask_truncated_completions": "--gspo.truncated",
    "output_dir": "--out and --name",
    "report_to": "--tracking.mode",
    "seed": "--seed",
    "use_vllm": "--rollout.engine",
}
"""Settings with a name of their own here: one knob, one place."""


def parse_trl_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """`name=value` strings as a mapping; ValueError for a name that is not TRL's to set."""
    if not overrides:
        return {}
    known = _field_names()
    values: dict[str, Any] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"--trl {override}: write name=value, as in --trl adam_beta2=0.99")
        if name in OURS:
            raise ValueError(f"--trl {name}: this is set by {OURS[name]}")
        if name not in known:
            raise ValueError(f"--trl {name}: TRL has no such setting{did_you_mean(name, known)}")
        values[name] = _literal(text)
    check_trl(values)
    return values


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text, text))
    except (ValueError, SyntaxError):
        return text


def _field_names() -> set[str]:
    files = (("trl", "trainer/grpo_config.py"), ("trl", "trainer/base_config.py"))
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
