"""Runs as they are left, of a Llama and of others, small enough to export in a second."""

import dataclasses

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from experiments.quickstart import QUICKSTART
from rl.config import PolicyConfig, to_json
from rl.policy.models import resolve_model

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}


def write_llama(folder, rope):
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny-qwen3.5-closed"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        rope_parameters=rope,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def make_trained(tmp_path, load, move):
    """A run's folder with an adapter that changes what the policy says."""

    def make(model, **changes):
        policy = PolicyConfig(model=str(model), lora_rank=4, lora_alpha=8, **changes)
        config = dataclasses.replace(QUICKSTART, policy=policy)
        run = tmp_path / "runs" / "trained"
        move(load(policy)).save_adapter(run / "adapter")
        (run / "config.json").write_text(to_json(config))
        return run

    return make


@pytest.fixture(scope="session", params=["plain", "llama3"])
def any_llama(request, tmp_path_factory):
    """With plain angles, and with those of Llama 3."""
    rope = {"plain": PLAIN_ROPE, "llama3": LLAMA3_ROPE}[request.param]
    return write_llama(tmp_path_factory.mktemp("llama"), rope)


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("llama"), PLAIN_ROPE)
