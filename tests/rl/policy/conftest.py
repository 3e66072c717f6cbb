"""Tiny policies, and an adapter of one as a run leaves it."""

import dataclasses

import pytest

from rl.config import PolicyConfig
from rl.policy.load import Policy, load_policy, load_tokenizer


def tiny_config(model: str = "tiny-qwen3.5", **changes) -> PolicyConfig:
    return dataclasses.replace(PolicyConfig(model=model, lora_rank=4, lora_alpha=8), **changes)


def load(config: PolicyConfig) -> Policy:
    return load_policy(config, load_tokenizer(config), seed=0)


@pytest.fixture(name="tiny_config")
def tiny_config_fixture():
    return tiny_config


@pytest.fixture(name="load")
def load_fixture():
    return load


@pytest.fixture(scope="session")
def trained(tmp_path_factory, move):
    """A run's folder with an adapter, and the policy it was saved from."""
    policy = move(load(tiny_config()))
    run = tmp_path_factory.mktemp("run")
    policy.save_adapter(run / "adapter")
    return run, policy
