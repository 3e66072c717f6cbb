"""A base in 4 bits: what it learns is what its adapter would learn on the weights it stands for."""

import copy
import importlib.util

import pytest
import torch

from rl.config import PolicyConfig
from rl.policy.load import check_device, load_policy, load_tokenizer
from rl.refusal import Refusal

SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def policy(quantise, dtype="float32"):
    config = PolicyConfig(
        model="tiny-llama",
        lora_rank=4,
        lora_alpha=8,
        lora_targets=SEVEN,
        quantise=quantise,
        dtype=dtype,
    )
    loaded = load_policy(config, load_tokenizer(config), seed=0)
    draw = torch.Generator().manual_seed(1)
    for name, parameter in loaded.model.named_parameters():
        if ".lora_" in name:
            parameter.data.normal_(std=0.05, generator=draw)
    return loaded


def dequantised(quantised, dtype="float32"):
    """A policy of 16 or 32 bits, with the weights that those of 4 stand for."""
    from bitsandbytes.functional import dequantize_4bit

    plain = policy(None, dtype)
    parts = dict(plain.model.named_modules())
    count = 0
    for name, part in quantised.model.named_modules():
        if name.endswith("base_layer"):
            state = copy.copy(part.weight.quant_state)
            state.dtype = torch.float32
            parts[name].weight.data.copy_(dequantize_4bit(part.weight.data, state))
            count += 1
    assert count == 2 * len(SEVEN)
    return plain


def loss_and_gradient(of):
    ids = torch.randint(10, 900, (4, 24), generator=torch.Generator().manual_seed(2))
    loss = of.model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    gradients = [p.grad.flatten().double() for p in of.model.parameters() if p.requires_grad]
    return loss.item(), torch.cat(gradients)


def test_its_gradient_is_that_of_an_adapter_on_the_weights_it_stands_for():
    quantised = policy("nf4")
    loss, gradient = loss_and_gradient(quantised)
    expected_loss, expected = loss_and_gradient(dequantised(quantised))
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert expected.norm() > 1e-2
    # on its way back it goes through the weights as bfloat16, which the checkpoint is of
    assert (gradient - expected).norm() < 2**-8 * expected.norm()
    unquantised_loss, _ = loss_and_gradient(policy(None))
    assert abs(unquantised_loss - loss) > 1e-4  # 4 bits are told from 16


def test_in_16_bits_it_is_so_within_their_rounding():
    quantised = policy("nf4", "bfloat16")
    _, gradient = loss_and_gradient(quantised)
    _, expected = loss_and_gradient(dequantised(quantised, "bfloat16"))
    _, exact = loss_and_gradient(dequantised(policy("nf4"), "float32"))
    rounding = (expected - exact).norm()
    assert (gradient - exact).norm() < 2 * rounding < 0.1 * exact.norm()


def test_measuring_without_a_gradient_in_between_changes_none():
    measured = policy("nf4")
    measured.model.eval()
    measured.logprobs([5, 6, 7, 8])
    measured.model.train()
    loss, gradient = loss_and_gradient(measured)
    expected_loss, expected = loss_and_gradient(policy("nf4"))
    assert loss == expected_loss
    assert torch.equal(gradient, expected)


def test_it_learns_and_its_adapter_stays_in_32_bits(built, helpers):
    rows = helpers.token_rows(16)
    run = built(helpers.settings(steps=24), policy=policy("nf4"), rows=rows)
    learning = [p for p in run.policy.model.parameters() if p.requires_grad]
    assert {p.dtype for p in learning} == {torch.float32}
    frozen = helpers.flat(p for p in run.policy.model.parameters() if not p.requires_grad)
    run.trainer.train()
    losses = [row["loss"] for row in run.rows]
    assert losses[-1] < losses[0] - 0.4
    assert {p.dtype for p in learning} == {torch.float32}
    after = helpers.flat(p for p in run.policy.model.parameters() if not p.requires_grad)
    assert torch.equal(frozen, after)


def test_what_learns_is_counted_whole_and_not_as_it_is_packed():
    assert policy("nf4").parameters == policy(None).parameters


def test_without_the_package_it_is_refused_with_what_to_type(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refusal, match=r"policy.quantise nf4 needs bitsandbytes. Type: pip install"):
        check_device(PolicyConfig(quantise="nf4"))


def test_float16_is_refused_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Refusal, match=r"policy.dtype is float16, .* Type --policy.dtype auto"):
        check_device(PolicyConfig(dtype="float16"))


@pytest.mark.slow
def test_a_run_that_goes_on_is_the_run_that_was_never_stopped(built, helpers):
    saved = []
    sft = helpers.settings(steps=4, optimizer="paged_adamw_8bit")
    options = {"save_every": 2, "on_checkpoint": lambda folder, *_: saved.append(folder)}
    whole = built(sft, policy=policy("nf4"), **options)
    whole.trainer.train()
    again = built(sft, policy=policy("nf4"))
    again.trainer.train(resume_from_checkpoint=str(saved[0]))
    for mine, theirs in zip(*map(learnt, (again, whole)), strict=True):
        assert torch.equal(mine, theirs)


def learnt(run):
    return [p for p in run.policy.model.parameters() if p.requires_grad]
