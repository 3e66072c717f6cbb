"""What is not finite never reaches the weights, and ends the run before the next judge call."""

import math
from dataclasses import replace

import pytest
import torch

from rl.gspo.diagnostics import RowTable, update_metrics

pytestmark = pytest.mark.slow


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])


def stopped_in_its_second_generation(train, settings, policy, rollout, breakage, **changes):
    """A run of four whose second generation is broken: what it pulled, and the weights before."""
    pulled = []

    def broken_rollout(prompt_ids):
        pulled.append(weights(policy.model))
        generation = rollout(prompt_ids)
        return breakage(generation) if len(pulled) == 2 else generation

    run = train(settings(generations=4, **changes), policy=policy, rollout=broken_rollout)
    assert len(pulled) == len(run.rows) == 2
    assert "stop_reason" not in run.rows[0]
    assert run.trainer.stop_reason == run.rows[1]["stop_reason"]
    return run, pulled[1]


def test_a_loss_that_is_not_finite_is_refused_and_ends_the_run(train, settings, tiny, rollouts):
    policy = tiny()

    def infinite_weight(generation):
        policy.model.get_output_embeddings().weight.data[5] = math.inf
        return generation

    run, before = stopped_in_its_second_generation(
        train, settings, policy, rollouts(), infinite_weight
    )
    assert torch.equal(weights(policy.model), before)
    assert run.rows[1]["generation"] == 2
    for words in ("loss", "--gspo.learning-rate", "float32"):
        assert words in run.trainer.stop_reason


def test_a_gradient_that_is_not_finite_is_refused_though_its_loss_is(
    train, settings, tiny, rollouts
):
    policy = tiny()
    first = next(p for p in policy.model.parameters() if p.requires_grad)

    def poisoned(generation):
        first.register_hook(lambda gradient: gradient * math.nan)
        return generation

    run, before = stopped_in_its_second_generation(train, settings, policy, rollouts(), poisoned)
    assert torch.equal(weights(policy.model), before)
    assert "gradient" in run.trainer.stop_reason


@pytest.mark.parametrize("lora", [True, False])
def test_a_step_that_breaks_weights_is_taken_back_where_they_were_kept(
    train, settings, tiny, rollouts, lora
):
    """A whole model's weights are not: they would need their own size again."""
    policy, speech, pulled = tiny(lora=lora), rollouts(), []

    def broken_momentum(prompt_ids):
        pulled.append(weights(policy.model))
        if len(pulled) == 2:
            for state in run.trainer.optimizer.state.values():
                state["exp_avg"].fill_(math.inf)
        return speech(prompt_ids)

    config = settings(generations=4, learning_rate=1e-3)
    run = train(config, policy=policy, rollout=broken_momentum, start=False)
    run.trainer.train()
    assert len(run.rows) == 2
    assert "a weight is not finite after optimizer step 3" in run.trainer.stop_reason
    assert torch.equal(weights(policy.model), pulled[1]) == lora
    assert ("earlier checkpoint" in run.trainer.stop_reason) != lora


def test_a_sampler_that_gives_no_numbers_ends_the_run_by_name(train, settings, tiny, rollouts):
    def speechless(generation):
        return replace(generation, logprobs=[[math.nan] * len(x) for x in generation.logprobs])

    run, _ = stopped_in_its_second_generation(
        train, settings, tiny(), rollouts(logprobs=True), speechless
    )
    assert "kl/sampler" in run.trainer.stop_reason
    assert math.isnan(run.rows[1]["kl/sampler"])


def test_a_token_the_sampler_did_not_score_is_not_a_broken_one(train, settings, rollouts):
    def one_unscored(prompt_ids):
        generation = rollouts(logprobs=True)(prompt_ids)
        generation.logprobs[0][0] = None
        return generation

    run = train(settings(), rollout=one_unscored)
    assert run.trainer.stop_reason is None
    assert all(math.isfinite(row["kl/sampler"]) for row in run.rows)


def test_broken_and_not_measured_are_told_apart():
    table = RowTable.empty(2, torch.device("cpu"))
    rows = torch.arange(2)
    table.write(rows, length=torch.tensor([2, 3]))
    table.write(rows[:1], entropy_sum=torch.tensor([math.nan]), kl_ref_sum=torch.tensor([1.0]))
    metrics = update_metrics(table, clip_low=3e-4, clip_high=4e-4)
    assert math.isnan(metrics["entropy"])
    assert metrics["kl/ref"] == 0.5
    assert "kl/sampler" not in metrics


@pytest.mark.parametrize("where", [[True, False], [False, True]])
def test_only_the_rows_that_are_meant_are_written(where):
    table = RowTable.empty(2, torch.device("cpu"))
    table.write(torch.arange(2), where=torch.tensor(where), ratio=torch.tensor([math.nan, 1.0]))
    assert table.measured("ratio").tolist() == where


def as_the_policy_says(policy, generation, *, off_by):
    """The generation with the policy's own log-probs, moved by so much a token."""
    logprobs = []
    for prompt, completion in zip(generation.prompt_ids, generation.completion_ids, strict=True):
        with torch.no_grad():
            logits = policy.model(torch.tensor([[*prompt, *completion]])).logits[0].float()
        places = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
        own = logits.log_softmax(-1)[list(places), completion]
        logprobs.append((own + off_by).tolist())
    return replace(generation, logprobs=logprobs)


def test_completions_of_another_policy_end_the_run_before_the_next_are_judged(
    train, settings, tiny, rollouts
):
    policy, speech = tiny(), rollouts()

    def served_by(off_by):
        return lambda prompt_ids: as_the_policy_says(policy, speech(prompt_ids), off_by=off_by)

    config = settings(minibatches=1, on_policy=True, mismatch_limit=0.05)
    near = train(config, policy=policy, rollout=served_by(0.02))
    assert near.trainer.stop_reason is None
    far = train(config, policy=policy, rollout=served_by(-1.0))
    assert len(far.rows) == 1
    assert "what samples is not the policy that is trained" in far.trainer.stop_reason
