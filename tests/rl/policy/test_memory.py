"""What training takes, counted before there are weights, is what it takes once there are."""

import dataclasses

import pytest
import torch

from rl.policy.memory import needs, said_of_memory

ROWS, TOKENS = 2, 48


def really_kept(model) -> int:
    weights = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    ids = torch.zeros((ROWS, TOKENS), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.get_base_model().model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
        )
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def gradients(policy) -> list[torch.Tensor]:
    policy.model.train()
    torch.manual_seed(0)
    ids = torch.randint(10, 1000, (ROWS, TOKENS))
    policy.model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return [each.grad for each in policy.model.parameters() if each.requires_grad]


@pytest.mark.parametrize("targets", [("o_proj", "down_proj"), ("all-linear",)])
def test_what_is_counted_without_weights_is_what_is_kept_with_them(tiny_config, load, targets):
    config = tiny_config(lora_targets=targets, dtype="float32")
    policy = load(config)
    need = needs(config, rows=ROWS, tokens=TOKENS)
    kept = really_kept(policy.model.train())
    assert need.kept == pytest.approx(kept, rel=0.03)
    learning = [each for each in policy.model.parameters() if each.requires_grad]
    assert need.adapter == 4 * sum(each.nbytes for each in learning)
    assert need.weights + need.adapter // 4 == sum(
        each.nbytes for each in policy.model.parameters()
    )


def test_checkpointing_keeps_less_and_changes_no_gradient(tiny_config, load, move):
    config = tiny_config(lora_targets=("all-linear",), dtype="float32")
    frugal = dataclasses.replace(config, gradient_checkpointing=True)
    plain = gradients(move(load(config)))
    again = gradients(move(load(frugal)))
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    assert needs(frugal, rows=8, tokens=64).kept < 0.6 * needs(config, rows=8, tokens=64).kept


def test_memory_is_told_by_its_parts(tiny_config):
    said = said_of_memory(tiny_config(), rows=4, tokens=1000)
    assert "kept for the backward pass of 4 rows of 1,000 tokens" in said
