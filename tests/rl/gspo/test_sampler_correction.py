"""The sampler's mismatch as truncated weights of tokens, against the closed form in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rl.config.gspo import GSPOConfig
from rl.gspo.objective import gspo_loss, kl_loss, truncated_weights

CAP, LOW, HIGH, LONGEST = 1.2, 0.01, 0.01, 9


def drawn():
    draw = np.random.default_rng(3)
    now = -draw.exponential(2.0, (6, 5))
    old = now + draw.normal(0, 0.05, now.shape)
    sampler = old + draw.normal(0, 0.4, now.shape)
    mask = np.arange(5) < np.array([5, 1, 3, 4, 2, 5])[:, None]
    return now, old, sampler, mask, draw.normal(size=6)


def by_hand(aggregation):
    now, old, sampler, mask, advantages = drawn()
    lengths = mask.sum(1)
    weights = np.minimum(np.exp(old - sampler), CAP) * mask
    ratios = np.exp(((now - old) * mask).sum(1) / lengths)
    cut = np.clip(ratios, 1 - LOW, 1 + HIGH)
    surrogate = np.minimum(ratios * advantages, cut * advantages)
    open_ = (ratios * advantages) <= (cut * advantages)
    size = {"sequence": lengths, "dr_grpo": LONGEST}[aggregation]
    share = weights.sum(1) / size
    loss = -(surrogate * share).mean()
    slope = -(open_ * ratios * advantages * share / lengths)[:, None] * mask / len(now)
    return loss, slope, weights


@pytest.mark.parametrize("aggregation", ["sequence", "dr_grpo"])
def test_loss_and_gradient_are_the_closed_form(aggregation):
    now, old, sampler, mask, advantages = (torch.tensor(x) for x in drawn())
    now.requires_grad_()
    weights = truncated_weights(old, sampler, mask, cap=CAP)
    out = gspo_loss(
        now,
        old,
        advantages,
        mask,
        clip_low=LOW,
        clip_high=HIGH,
        aggregation=aggregation,
        max_length=LONGEST,
        weights_BT=weights,
    )
    out.loss.backward()
    loss, slope, by_hand_weights = by_hand(aggregation)
    assert 0 < out.clipped_B.sum() < 6
    np.testing.assert_allclose(weights.numpy() * mask.numpy(), by_hand_weights, rtol=1e-12)
    np.testing.assert_allclose(out.loss.item(), loss, rtol=1e-12)
    np.testing.assert_allclose(now.grad.numpy(), slope, rtol=1e-10, atol=1e-15)


def test_the_kl_of_a_token_has_its_weight_too():
    now, old, sampler, mask, _ = (torch.tensor(x) for x in drawn())
    weights = truncated_weights(old, sampler, mask, cap=CAP)
    reference = old - 0.1
    got = kl_loss(now, old, reference, mask, weights_BT=weights)
    now, old, reference, mask, weights = (x.numpy() for x in (now, old, reference, mask, weights))
    away = reference - now
    per_token = weights * np.exp(now - old) * (np.expm1(away) - away) * mask
    wanted = (per_token.sum(1) / mask.sum(1)).mean()
    np.testing.assert_allclose(got.item(), wanted, rtol=1e-12)


def test_a_sampler_that_is_the_trainer_is_corrected_by_nothing():
    now, old, _, mask, advantages = (torch.tensor(x) for x in drawn())
    options = {"clip_low": LOW, "clip_high": HIGH}
    weights = truncated_weights(old, old, mask, cap=CAP)
    corrected = gspo_loss(now, old, advantages, mask, weights_BT=weights, **options)
    assert corrected.loss == gspo_loss(now, old, advantages, mask, **options).loss


def test_what_is_under_the_mask_weighs_nothing_whatever_it_is():
    old = torch.tensor([[-1.0, float("nan")]])
    sampler = torch.tensor([[-1.0, float("-inf")]])
    mask = torch.tensor([[True, False]])
    assert truncated_weights(old, sampler, mask, cap=2.0).tolist() == [[1.0, 0.0]]


def mismatched(rollouts, shift):
    """What the sampler says of every token is `shift` away from what the script makes it say."""

    def rollout(prompt_ids):
        generation = rollouts(logprobs=True)(prompt_ids)
        shifted = [[logp + shift for logp in row] for row in generation.logprobs]
        return replace(generation, logprobs=shifted)

    return rollout


@pytest.mark.slow
def test_a_run_is_corrected_in_its_first_step_and_its_later_ones(
    train, settings, rollouts, gradients
):
    """The sampler says -30 of every token: its weights are all at the cap, in every step."""
    kept = {}
    for correction in ("off", "token_truncate"):
        run = train(
            settings(generations=1, sampler_correction=correction, sampler_cap=3.0),
            rollout=mismatched(rollouts, -26.0),
            start=False,
            trl_overrides={"max_grad_norm": 1e9, "optim": "sgd", "learning_rate": 1e-12},
        )
        kept[correction] = gradients(run.trainer)
        run.trainer.train()
        assert run.rows[0].get("sampler/capped") == (None if correction == "off" else 1.0)
    for plain, corrected in zip(kept["off"], kept["token_truncate"], strict=True):
        assert plain.norm() > 1e-3
        assert (corrected - 3 * plain).norm() < 1e-5 * plain.norm()


@pytest.mark.slow
def test_a_row_the_sampler_did_not_score_cannot_be_corrected(train, settings, rollouts):
    def unscored(prompt_ids):
        generation = rollouts(logprobs=True)(prompt_ids)
        generation.logprobs[0][0] = None
        return generation

    config = settings(generations=1, sampler_correction="token_truncate")
    assert train(config, rollout=unscored).rows[0]["rows/dead_no_logprobs"] == 1
    with pytest.raises(ValueError, match=r"--gspo\.sampler-correction off"):
        train(config, rollout=rollouts(logprobs=False))


def test_a_correction_that_would_correct_nothing_is_refused():
    with pytest.raises(ValueError, match=r"sampler_correction.*--gspo\.old-policy trainer"):
        GSPOConfig(old_policy="sampler", sampler_correction="token_truncate")
    with pytest.raises(ValueError, match=r"gspo\.sampler_cap is 0\.5: it must be at least 1"):
        GSPOConfig(sampler_cap=0.5)
