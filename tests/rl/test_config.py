import dataclasses
import json
import re

import pytest

from experiments.quickstart import QUICKSTART
from rl.config import PolicyConfig, load, to_json, with_preset
from rl.config.gspo import GSPOConfig, GSPORun, RolloutConfig


def test_a_saved_config_loads_as_the_same_config(tmp_path):
    config = dataclasses.replace(QUICKSTART, seed=7, trl=("adam_beta2=0.9",))
    (tmp_path / "config.json").write_text(to_json(config))
    assert load(tmp_path, GSPORun) == config
    assert load(tmp_path / "config.json", GSPORun) == config


def test_an_unknown_setting_in_a_saved_config_is_named_with_its_nearest(tmp_path):
    raw = json.loads(to_json(QUICKSTART))
    raw["gspo"]["learning_rat"] = 1e-4
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=r"gspo\.learning_rat .*did you mean 'learning_rate'"):
        load(tmp_path, GSPORun)


@pytest.mark.parametrize("flag", ["--from", "--resume"])
@pytest.mark.parametrize("kind", ["sft", None])
def test_a_config_of_another_kind_of_run_is_refused_by_the_flag_that_named_it(tmp_path, kind, flag):
    raw = json.loads(to_json(QUICKSTART)) | {"kind": kind}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    said = f"{flag} {tmp_path}: the config of a run of kind {kind}, and this experiment is of kind"
    with pytest.raises(ValueError, match=re.escape(said)):
        load(tmp_path, GSPORun, flag=flag)


def test_a_prompt_that_would_leave_no_room_for_its_completion_is_refused():
    with pytest.raises(ValueError, match=r"Lower --rollout\.max-prompt-tokens"):
        RolloutConfig(max_prompt_tokens=512, max_total_tokens=512)
    assert RolloutConfig(max_prompt_tokens=512, max_total_tokens=600).longest_row == 600


@pytest.mark.parametrize(
    ("text", "said"), [(None, "no such file"), ("{", "not JSON"), ("[]", "a mapping was expected")]
)
def test_a_config_file_that_cannot_be_read_is_named(tmp_path, text, said):
    file = tmp_path / "config.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=said):
        load(file, GSPORun)


def test_the_paper_preset_has_the_papers_window_and_four_minibatches():
    gspo = with_preset(GSPORun(), "paper").gspo
    assert (gspo.clip_low, gspo.clip_high, gspo.minibatches) == (3e-4, 4e-4, 4)
    assert (gspo.aggregation, gspo.beta) == ("sequence", 0.0)


def test_the_seed_preset_reaches_across_sections():
    config = with_preset(GSPORun(), "seed")
    assert (config.policy.lora_rank, config.policy.lora_alpha) == (16, 32)
    assert config.rollout.max_new_tokens == 2048
    assert (config.gspo.group_size, config.gspo.aggregation) == (4, "dr_grpo")
    assert (config.gspo.micro_batch_rows, config.gspo.rows) == (2, 8)


def test_an_unknown_preset_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"papr.*did you mean 'paper'"):
        with_preset(GSPORun(), "papr")


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        (GSPOConfig, {"learning_rate": 0.0}, "gspo.learning_rate is 0.0: it must be above 0"),
        (GSPOConfig, {"group_size": 1}, "gspo.group_size is 1: it must be at least 2"),
        (GSPOConfig, {"clip_low": 1.5}, "gspo.clip_low is 1.5: it must be under 1"),
        (GSPOConfig, {"beta": -0.1}, "gspo.beta is -0.1"),
        (GSPOConfig, {"prompts": 3, "group_size": 3}, "9 rows"),
        (GSPOConfig, {"minibatches": 1}, "every ratio is exactly 1"),
        (GSPOConfig, {"kl_limit": 0.0}, "gspo.kl_limit is 0.0"),
        (PolicyConfig, {"lora_rank": 0}, "policy.lora_rank is 0"),
        (PolicyConfig, {"lora_targets": ()}, "policy.lora_targets is empty"),
        (PolicyConfig, {"lora_dropout": 1.0}, "policy.lora_dropout is 1.0"),
        (PolicyConfig, {"learns": "weights", "quantise": "nf4"}, "weights of 4 bits cannot learn"),
        (PolicyConfig, {"learns": "weights", "adapter": "a"}, "merge the adapter into its base"),
        (GSPORun, {"policy": PolicyConfig(learns="weights")}, "Type --policy.learns adapter"),
        (GSPORun, {"policy": PolicyConfig(quantise="nf4")}, "Leave --policy.quantise out"),
        (GSPORun, {"policy": PolicyConfig(lora_dropout=0.1)}, "Type --policy.lora-dropout 0"),
        (GSPORun, {"policy": PolicyConfig(dtype="float16")}, "Type --policy.dtype auto"),
        (PolicyConfig, {"lora_targets": ("all-linear", "q_proj")}, "all-linear is all of them"),
        (RolloutConfig, {"temperature": 0.0}, "rollout.temperature is 0.0"),
        (RolloutConfig, {"port": 70000}, "rollout.port is 70000"),
        (RolloutConfig, {"memory_share": 1.0}, "rollout.memory_share is 1.0"),
        (RolloutConfig, {"engine": "transformers", "url": "http://x"}, "Leave one of them out"),
        (GSPORun, {"name": "a/b"}, "name is 'a/b'"),
        (GSPORun, {"seed": -1}, "seed is -1"),
    ],
)
def test_a_value_out_of_range_is_refused_in_our_own_words(section, values, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        section(**values)
