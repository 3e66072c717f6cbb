"""The names under which an adapter is handed to vLLM; that it uses them is met in real vLLM."""

import pytest
import torch
from safetensors.torch import load_file

from rl.config import PolicyConfig
from rl.policy.adapter import WEIGHTS
from rl.policy.load import load_policy, load_tokenizer
from rl.rollout.published import save_for_vllm


@pytest.mark.parametrize(
    ("model", "inside"), [("tiny-qwen3.5", ""), ("tiny-qwen3.5-vl", "language_model.")]
)
def test_the_checkpoints_own_names_for_the_layers_and_the_same_weights(model, inside, tmp_path):
    config = PolicyConfig(model=model, lora_targets=("all-linear",))
    policy = load_policy(config, load_tokenizer(config), seed=0)
    policy.save_adapter(tmp_path / "kept")
    save_for_vllm(policy, tmp_path / "published")
    kept, published = (load_file(tmp_path / name / WEIGHTS) for name in ("kept", "published"))
    assert len(kept) == len(published) == 62
    for key, weight in kept.items():
        layer = key.removeprefix("base_model.model.model.layers.")
        assert torch.equal(published[f"base_model.model.model.{inside}layers.{layer}"], weight)
    assert not list((tmp_path / "published").glob("*.part"))
