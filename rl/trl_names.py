"""TRL's setting names, read from its source: importing it takes seconds and checks the hardware."""

import ast
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.names import did_you_mean


@dataclass(frozen=True, kw_only=True)
class TrlTable:
    """What `--trl name=value` may say to one of TRL's trainers."""

    config: str
    """Its module of settings, as in trl.trainer.grpo_config."""
    ours: Mapping[str, str]
    """Settings with a flag of their own here: one knob, one place."""
    check: Callable[[Mapping[str, object]], None]

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
