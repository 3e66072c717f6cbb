"""What would quietly do nothing, or the wrong thing, is refused with what to type instead."""

import subprocess
import sys

import pytest

from rl.config.gspo import GSPOConfig, GSPORun
from rl.gspo.refusals import (
    TRL,
    check_batch,
    check_data,
    check_on_policy,
    check_reference,
)
from rl.run.preflight import outlook


def refusal(check, *arguments, **options) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        check(*arguments, **options)
    return str(caught.value)


def test_one_minibatch_is_refused_unless_it_is_said_to_be_meant():
    text = refusal(check_on_policy, minibatches=1, on_policy=False)
    assert "ratio is exactly 1" in text
    assert "--gspo.minibatches 4" in text
    assert "--gspo.on-policy" in text
    check_on_policy(minibatches=1, on_policy=True)
    check_on_policy(minibatches=4, on_policy=False)
    assert "--gspo.minibatches 1" in refusal(check_on_policy, minibatches=4, on_policy=True)


def test_beta_on_an_adapter_is_refused_where_the_reference_would_be_another():
    text = refusal(check_reference, beta=0.1, kl_target=None, backend="unsloth", adapter="sft/")
    assert "sft/" in text
    assert "Merge" in text
    assert "--gspo.beta 0" in text
    check_reference(beta=0.1, kl_target=None, backend="unsloth", adapter="")
    check_reference(beta=0.1, kl_target=None, backend="transformers", adapter="sft/")
    check_reference(beta=0.0, kl_target=None, backend="unsloth", adapter="sft/")


def test_a_target_that_cannot_be_steered_to_is_refused():
    assert "--gspo.beta 0.01" in refusal(check_reference, beta=0.0, kl_target=0.1)
    assert "--gspo.beta 0" in refusal(check_reference, beta=-1.0, kl_target=None)


@pytest.mark.parametrize("loss_type", ["dapo", "bnpo", "luspo", "cispo"])
def test_a_loss_that_weighs_by_length_must_be_asked_for_by_name(loss_type):
    text = refusal(TRL.check, {"loss_type": loss_type})
    assert "length" in text
    assert "--gspo.aggregation sequence" in text
    assert "--gspo.aggregation dr_grpo" in refusal(TRL.check, {"loss_type": "dr_grpo"})


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("use_bias_correction_kl", True, "gradient of no KL"),
        ("top_entropy_quantile", 0.2, "all its tokens"),
        ("disable_dropout", False, "clip window"),
        ("top_p", 0.9, "biases every ratio"),
        ("top_k", 20, "--rollout.temperature"),
        ("num_iterations", 2, "--gspo.minibatches"),
        ("vllm_importance_sampling_mode", "token_truncate", "nothing here reads it"),
    ],
)
def test_trl_settings_that_harm_or_do_nothing_are_refused(name, value, why):
    text = refusal(TRL.check, {name: value})
    assert f"{name}={value}" in text
    assert why in text


def test_trl_settings_that_mean_something_pass():
    TRL.check({"weight_decay": 0.1, "gradient_checkpointing": True, "adam_beta2": 0.95})


def test_processes_that_would_split_groups_are_refused():
    gspo = GSPOConfig(prompts=6, group_size=4, minibatches=2, micro_batch_rows=2)
    check_batch(gspo, ranks=3)
    text = refusal(check_batch, gspo, ranks=4)
    assert "split" in text
    assert "--gspo.prompts 4" in text


def test_steps_that_do_not_cut_evenly_are_refused_with_the_nearest_that_do():
    gspo = GSPOConfig(prompts=4, group_size=4, minibatches=8, micro_batch_rows=2)
    text = refusal(check_batch, gspo, ranks=2)
    assert "--gspo.micro-batch-rows 1" in text
    gspo = GSPOConfig(prompts=4, group_size=3, minibatches=4, micro_batch_rows=3)
    text = refusal(check_batch, gspo, ranks=2)
    assert "--gspo.minibatches 3" in text


def test_data_that_cannot_fill_a_generation_is_refused():
    text = refusal(check_data, GSPOConfig(), prompts_in_data=5)
    assert "only 5 prompts" in text
    assert "--gspo.prompts 5" in text
    with pytest.raises(ValueError, match="not one generation"):
        outlook(GSPORun(gspo=GSPOConfig(prompts=32)), train=16, heldout=0)


def test_a_trainer_is_not_built_on_a_refused_setting(train):
    with pytest.raises(ValueError, match="top_p"):
        train(trl_overrides={"top_p": 0.9})


def test_refusals_load_neither_torch_nor_trl():
    code = "import rl.gspo.refusals, sys; print(sorted({'torch', 'trl'} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_quorum_that_no_group_could_reach_is_refused():
    with pytest.raises(ValueError, match=r"quorum is 9 .*group_size 8.*--gspo\.quorum 8"):
        GSPOConfig(group_size=8, quorum=9)
    assert GSPOConfig(group_size=8, quorum=8).quorum == 8


def test_a_negative_spread_is_refused():
    with pytest.raises(ValueError, match=r"gspo\.min_spread is -1"):
        GSPOConfig(min_spread=-1.0)


def test_an_adapter_on_the_head_is_refused_before_it_is_ignored(train, tiny):
    from peft import LoraConfig, get_peft_model

    policy = tiny(lora=False)
    targets = ["o_proj", "lm_head"]
    policy.model = get_peft_model(policy.model, LoraConfig(r=4, target_modules=targets))
    with pytest.raises(ValueError, match=r"lm_head.*--policy\.lora-targets"):
        train(policy=policy, start=False)


def test_a_setting_that_this_trl_lacks_is_refused_and_not_dropped(train, monkeypatch):
    import rl.gspo.build

    ours = rl.gspo.build.trl_arguments
    monkeypatch.setattr(
        rl.gspo.build, "trl_arguments", lambda *a, **o: ours(*a, **o) | {"epsilon_of_old": 1}
    )
    with pytest.raises(ValueError, match=r"TRL \d\S* has no setting epsilon_of_old.*trl>="):
        train(start=False)


def test_an_override_that_this_trl_lacks_is_refused_by_name(train):
    with pytest.raises(ValueError, match=r"--trl adam_beta9.*no such setting"):
        train(start=False, trl_overrides={"adam_beta9": 0.5})
