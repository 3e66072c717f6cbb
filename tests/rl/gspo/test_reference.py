"""Beta, the reference it measures against, the limit, and what survives a checkpoint."""

import json
import math

import pytest
import torch

from rl.gspo.generation import Generation
from rl.gspo.objective import gspo_loss, kl_loss
from rl.gspo.reference import BetaController, KlLimit, Reference

pytestmark = pytest.mark.slow


def fresh(policy):
    """The policy with an adapter that does nothing yet, as a run starts."""
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    return policy


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_the_kl_to_the_reference_is_logged_and_starts_at_zero(train, settings, tiny, beta):
    rows = train(settings(beta=beta, minibatches=4, micro_batch_rows=2), policy=fresh(tiny())).rows
    assert rows[1]["kl/ref"] > 1e-6
    if beta == 0:
        assert rows[0]["kl/ref"] == pytest.approx(0, abs=1e-9)


def test_the_probe_at_beta_0_is_the_adapters_own_kl(train, settings, tiny):
    """One row in 64 is compared; on 16 equal rows any choice of rows gives the KL of all."""
    policy = tiny()
    prompt, completion = [5, 6], [9, 10, 11]

    def same_row(prompt_ids):
        n = len(prompt_ids)
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.data += 0.05
        return Generation(
            prompt_ids=[prompt] * n,
            completion_ids=[completion] * n,
            rewards=[float(i % 3) for i in range(n)],
        )

    row = train(settings(generations=1, learning_rate=1e-12), policy=policy, rollout=same_row).rows[
        0
    ]
    ids = torch.tensor([prompt + completion])
    at = ([0] * 3, [1, 2, 3], completion)
    with torch.no_grad():
        now, before = (
            model(input_ids=ids).logits.log_softmax(-1)[at]
            for model in (policy.model, tiny().model)
        )
    wanted = ((before - now).expm1() - (before - now)).mean()
    assert wanted > 1e-4
    assert row["kl/ref"] == pytest.approx(wanted.item(), rel=1e-4)


def test_the_probe_costs_one_forward_of_one_row_in_64(train, settings, tiny):
    """Against at least two forwards' worth for each row's backward: under 1 % of the update."""
    policy, probed = tiny(), []

    def watch(model, arguments, keywords):
        if not torch.is_grad_enabled():
            probed.append(len(keywords["input_ids"]))

    run = train(
        settings(
            generations=1,
            prompts=16,
            group_size=8,
            minibatches=1,
            on_policy=True,
            micro_batch_rows=16,
        ),
        policy=policy,
        start=False,
    )
    policy.model.register_forward_pre_hook(watch, with_kwargs=True)
    run.trainer.train()
    assert probed == [2]
    assert "kl/ref" in run.rows[0]


def test_beta_adds_the_gradient_of_the_kl(train, settings, tiny, gradients, rollouts):
    """The step's gradient, against both losses written out over the whole batch at once."""
    policy, beta = tiny(), 0.5
    seen = []
    speech = rollouts()

    def remembered(prompt_ids):
        seen.append(speech(prompt_ids))
        return seen[-1]

    run = train(
        settings(generations=1, minibatches=1, on_policy=True, micro_batch_rows=2, beta=beta),
        policy=policy,
        rollout=remembered,
        start=False,
        trl_overrides={"max_grad_norm": 1e9},
    )
    kept = gradients(run.trainer)
    # The reference of an adapter that was there before is that adapter, not the base under it.
    whole = tiny().model
    run.trainer.train()
    out = seen[0]
    logps, mask = [], []
    for prompt, completion in zip(out.prompt_ids, out.completion_ids, strict=True):
        ids = torch.tensor([prompt + completion])
        chances = whole(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        row = chances[range(len(completion)), completion]
        logps.append(torch.nn.functional.pad(row, (0, 8 - len(row))))
        mask.append(torch.arange(8) < len(row))
    logps_BT, mask_BT = torch.stack(logps), torch.stack(mask)
    old_BT = logps_BT.detach()
    advantages = torch.tensor(run.advantages)
    loss = gspo_loss(logps_BT, old_BT, advantages, mask_BT, clip_low=3e-4, clip_high=4e-4).loss
    loss = loss + beta * kl_loss(logps_BT, old_BT, old_BT, mask_BT)
    wanted = torch.autograd.grad(loss, [p for p in whole.parameters() if p.requires_grad])
    torch.testing.assert_close(
        kept[0], torch.cat([g.flatten() for g in wanted]), rtol=1e-4, atol=1e-6
    )
    assert run.rows[0]["kl/ref"] == pytest.approx(0, abs=1e-6)


def test_beta_keeps_the_policy_nearer_its_reference(train, settings, tiny):
    drift = [
        train(settings(generations=8, beta=beta), policy=fresh(tiny())).rows[-1]["kl/ref"]
        for beta in (1e-9, 100.0)
    ]
    assert drift[1] < drift[0] / 2


def test_the_reference_stands_in_and_steps_back(tiny):
    model = tiny().model
    reference = Reference(model)
    ids = torch.arange(2, 8)[None]
    start = model(input_ids=ids).logits
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1
    now = model(input_ids=ids).logits
    with reference.standing_in():
        assert torch.equal(model(input_ids=ids).logits, start)
    assert torch.equal(model(input_ids=ids).logits, now)
    assert not torch.equal(now, start)


def test_a_policy_without_an_adapter_trains_and_reports_no_kl_it_cannot_know(train, settings, tiny):
    rows = train(settings(learning_rate=1e-3), policy=tiny(lora=False)).rows
    assert "kl/ref" not in rows[0]
    assert rows[1]["kl/old"] > 0


def test_the_kl_limit_saves_and_stops_and_says_why(train, settings, tmp_path):
    run = train(settings(generations=9, kl_limit=1e-9))
    assert len(run.rows) == 2
    assert run.trainer.stop_reason == run.rows[1]["stop_reason"]
    assert "stop_reason" not in run.rows[0]
    for word in ("gspo.kl_limit", "1e-09", "gspo.learning_rate"):
        assert word in run.trainer.stop_reason
    assert (tmp_path / "out" / "checkpoint-4" / "adapter_model.safetensors").is_file()


def test_a_kl_below_the_limit_or_unknown_stops_nothing(train, settings):
    assert len(train(settings(kl_limit=1e9)).rows) == 2
    assert KlLimit(0.1).check(None) is None
    assert KlLimit(None).check(1e9) is None


def test_one_odd_generation_does_not_end_a_run_and_a_trend_does():
    limit = KlLimit(0.1)
    assert [limit.check(kl) for kl in (0.02, 0.02, 0.2, 0.02, 0.02)] == [None] * 5
    assert limit.check(0.2) is not None


def test_beta_follows_the_kl_by_2_percent_at_most():
    controller = BetaController(0.1, 0.01)
    controller.observe(1.0)
    assert controller.beta == pytest.approx(0.102)
    controller.observe(0.0)
    assert controller.beta == pytest.approx(0.102 * 0.98)
    controller.observe(None)
    assert controller.beta == pytest.approx(0.102 * 0.98)
    fixed = BetaController(0.1, None)
    fixed.observe(5.0)
    assert fixed.beta == 0.1


def test_the_controller_settles_the_kl_at_its_target():
    """A plant whose KL falls as beta grows: kl = 0.004 / beta."""
    controller = BetaController(1.0, 0.02)
    for _ in range(400):
        controller.observe(0.004 / controller.beta)
    assert controller.beta == pytest.approx(0.2, rel=0.01)


def test_a_resumed_run_ends_where_the_unbroken_one_does(train, settings, tiny, rollouts, tmp_path):
    config = settings(generations=4, beta=0.1, kl_target=1e-4, minibatches=2)
    whole = train(config, policy=fresh(tiny()), save_every=2)
    rest = train(config, policy=fresh(tiny()), rollout=rollouts(calls=2), start=False, save_every=2)
    rest.trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert [row["generation"] for row in rest.rows] == [3, 4]
    for resumed, unbroken in zip(rest.rows, whole.rows[2:], strict=True):
        for name in ("beta", "reward/mean", "kl/ref", "grad_norm", "ratio/max"):
            assert resumed[name] == pytest.approx(unbroken[name], rel=1e-5), name
    assert rest.rows[0]["beta"] != config.beta
    assert math.isfinite(rest.rows[1]["kl/ref"])


def test_what_a_resume_needs_beside_weights_is_small_and_plain(train, settings, rollouts, tmp_path):
    """By hand through JSON, or with TRL's own checkpoint: beta and the limit's memory go on."""
    config = settings(beta=0.1, kl_target=1e-4, kl_limit=1e9)
    whole = train(config, save_every=1).trainer.state_dict()
    assert len(whole["kl_recent"]) == config.generations
    assert whole["beta"] != config.beta
    by_hand = train(config, start=False).trainer
    by_hand.load_state_dict(json.loads(json.dumps(whole)))
    assert by_hand.state_dict() == whole
    rest = train(config, rollout=rollouts(calls=1), start=False).trainer
    rest.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert rest.state_dict()["beta"] == pytest.approx(whole["beta"])
    assert rest.state_dict()["kl_recent"] == pytest.approx(whole["kl_recent"], rel=1e-4)
