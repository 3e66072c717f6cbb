"""A column's policy: what is known of it before its weights are read, and then with them."""

import contextlib
import dataclasses
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from rl.config import PolicyConfig
from rl.config.shared import ALL_LINEAR
from rl.evaluate.columns import Column
from rl.evaluate.served import Served
from rl.evaluate.task import Candidate
from rl.policy.adapter import WEIGHTS
from rl.policy.files import sha256
from rl.policy.fit import checked_blueprint
from rl.policy.load import (
    Policy,
    adapted,
    context_window,
    load_policy,
    read_tokenizer,
    readable,
    template_sha,
)
from rl.policy.models import resolve_model
from rl.refusal import Refusal


def candidate_of(column: Column) -> Candidate:
    """Refuses a model that is not there, and an adapter that does not fit it."""
    try:
        tokenizer = read_tokenizer(column.policy)
        if column.policy.adapter:
            checked_blueprint(column.policy, tokenizer)
        window = context_window(column.policy)
    except Refusal as error:
        told = f"its server has its base from {column.policy.model}, and its tokenizer is wanted: "
        raise Refusal(f"column {column.label}: {told if column.served else ''}{error}") from None
    served = column.served
    return Candidate(
        tokenizer=tokenizer,
        window=min(window, served.window or window) if served else window,
        is_served=served is not None,
        system_prompt=column.system_prompt,
        thinking=column.thinking,
    )


def facts_of(column: Column, candidate: Candidate) -> dict[str, Any]:
    """What its scores depend on."""
    policy = column.policy
    served = column.served
    weights = (
        {"served": f"{served.model} at {served.url}"}
        if served
        else {"model (content)": _content_of_model(policy)}
    )
    return {
        "model": policy.model,
        **weights,
        "adapter": policy.adapter,
        "adapter (content)": sha256(Path(policy.adapter) / WEIGHTS)[:16]
        if policy.adapter
        else None,
        "random weights": column.has_random_weights,
        "chat template": template_sha(candidate.tokenizer),
        "system prompt": column.system_prompt,
        "thinking": column.thinking,
    }


@contextlib.contextmanager
def opened(column: Column, candidate: Candidate, seed: int) -> Iterator[Policy | Served]:
    if column.served:
        yield column.served
        return
    import torch

    policy = _loaded(column, candidate, seed)
    policy.model.eval()
    yield policy
    del policy
    gc.collect()
    torch.cuda.empty_cache()


def _loaded(column: Column, candidate: Candidate, seed: int) -> Policy:
    config = column.policy
    if config.adapter:
        return load_policy(config, candidate.tokenizer, seed)
    config = dataclasses.replace(config, lora_rank=1, lora_alpha=1, lora_targets=(ALL_LINEAR,))
    policy = load_policy(config, candidate.tokenizer, seed)
    if column.has_random_weights:
        policy = dataclasses.replace(policy, model=_drawn_anew(policy, config))
    policy.model.base_model.disable_adapter_layers()  # it has not learnt, and would cost time
    return policy


def _drawn_anew(policy: Policy, config: PolicyConfig) -> Any:
    from transformers import AutoModelForCausalLM

    base = policy.model.get_base_model()
    fresh = AutoModelForCausalLM.from_config(base.config, dtype=base.dtype).to(base.device)
    return adapted(fresh, config)


def _content_of_model(config: PolicyConfig) -> str:
    from transformers import AutoConfig

    folder = Path(resolve_model(config.model))
    if not folder.is_dir():
        return readable(config, AutoConfig)._commit_hash
    files = [(file, file.stat()) for file in sorted(folder.glob("*.safetensors"))]
    return " ".join(_sha(file, stat.st_size, stat.st_mtime_ns) for file, stat in files)


@cache
def _sha(file: Path, size: int, mtime_ns: int) -> str:
    """Read once, of however many columns it is the base."""
    return sha256(file)[:16]
