"""A policy whose own weights learn: all of them, kept whole, and gone on from."""

import json

import pytest
import torch

from rl.config import PolicyConfig
from rl.policy.adapter import adapter_folder
from rl.policy.load import load_policy, load_tokenizer
from rl.refusal import Refusal


def policy(model="tiny-llama", **changes):
    config = PolicyConfig(model=str(model), learns="weights", **changes)
    return load_policy(config, load_tokenizer(config), seed=0)


def weights(of):
    return torch.cat([p.detach().flatten() for p in of.model.parameters()])


def test_all_of_its_weights_learn_in_32_bits(built, helpers):
    run = built(helpers.settings(steps=2), policy=policy(dtype="bfloat16"))
    count = sum(p.numel() for p in run.policy.model.parameters())
    assert run.policy.parameters == {"parameters_trained": count, "parameters": count}
    assert {p.dtype for p in run.policy.model.parameters()} == {torch.float32}
    before = weights(run.policy)
    run.trainer.train()
    assert len(run.gradients[0]) == count
    moved = {
        name
        for (name, p), was in zip(
            run.policy.model.named_parameters(),
            before.split([p.numel() for p in run.policy.model.parameters()]),
            strict=True,
        )
        if not torch.equal(p.detach().flatten(), was)
    }
    assert moved == {name for name, _ in run.policy.model.named_parameters()}


def test_a_step_too_small_for_16_bits_is_not_lost(built, helpers):
    """At 2e-6, of continued pretraining, a weight of 0.02 in bfloat16 would stay as it is."""
    sft = helpers.settings(steps=1, learning_rate=2e-6, schedule="constant")
    run = built(sft, policy=policy(dtype="bfloat16"))
    before = weights(run.policy)
    run.trainer.train()
    has_gradient = run.gradients[0].abs() > 1e-4
    assert has_gradient.sum() > 1000
    changed = weights(run.policy) != before
    assert changed[has_gradient].float().mean() > 0.9


def test_its_gradient_is_that_of_the_formula(built, helpers):
    sft = helpers.settings(steps=1)
    run = built(sft, policy=policy(), trl_overrides={"max_grad_norm": 1e9})
    run.trainer.train()
    model, total, learnt = policy().model.double(), 0.0, 0
    data = run.trainer.train_dataset
    for row in (data[n] for n in range(sft.batch_rows)):
        logps = model(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        for place, wanted in enumerate(row["labels"]):
            if wanted != -100:
                total, learnt = total - logps[place - 1, wanted], learnt + 1
    expected = torch.autograd.grad(total / learnt, list(model.parameters()))
    flat = torch.cat([part.flatten() for part in expected])
    torch.testing.assert_close(run.gradients[0].double(), flat, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_run_that_goes_on_from_a_checkpoint_is_the_run_that_was_never_stopped(built, helpers):
    saved = []
    options = {"save_every": 2, "on_checkpoint": lambda folder, *_: saved.append(folder)}
    whole = built(helpers.settings(steps=4), policy=policy(), **options)
    whole.trainer.train()
    again = built(helpers.settings(steps=4), policy=policy())
    again.trainer.train(resume_from_checkpoint=str(saved[0]))
    assert torch.equal(weights(again.policy), weights(whole.policy))
    back = policy()
    back.take_over(saved[1])
    assert torch.equal(weights(back), weights(whole.policy))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run's folder with the model it learnt, and the policy it was saved from."""
    learnt = policy()
    torch.manual_seed(1)
    for parameter in learnt.model.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    run = tmp_path_factory.mktemp("run")
    (run / "config.json").write_text('{"kind": "sft"}')
    learnt.save(run)
    return run, learnt


def test_what_a_run_keeps_is_a_model_that_another_begins_with(kept):
    run, learnt = kept
    assert not (run / "adapter").exists()
    assert torch.equal(weights(policy(run)), weights(learnt))
    tuned = PolicyConfig(model=str(run), lora_targets=("q_proj",))
    on_it = load_policy(tuned, load_tokenizer(tuned), seed=0)
    prompt = [5, 6, 7, 8]
    assert on_it.logprobs(prompt) == pytest.approx(learnt.logprobs(prompt), abs=1e-5)
    base = json.loads((run / "model" / "base.json").read_text())
    assert base["source"] == "tiny-llama"


def test_it_is_no_adapter_and_the_refusal_says_what_to_type(kept):
    run, _ = kept
    with pytest.raises(Refusal, match=f"a whole model, not an adapter. Type --policy.model {run}"):
        adapter_folder(str(run))
