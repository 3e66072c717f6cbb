"""A policy that goes on from an adapter, and the adapters that are not let in."""

import json
import re
import shutil

import pytest
import safetensors.torch
import torch

from experiments.quickstart import QUICKSTART
from rl.launch import parse
from rl.policy.adapter import SETTINGS, WEIGHTS, adapter_folder
from rl.policy.blueprint import draw_blueprint
from rl.policy.fit import check_adapter, checked_blueprint
from rl.policy.load import load_tokenizer
from rl.refusal import Refusal


def check(folder, config):
    check_adapter(folder, config, draw_blueprint(config, load_tokenizer(config)))


def started(*flags):
    return parse(QUICKSTART, flags, prog="test", description="").config.policy


def test_it_says_what_the_trained_policy_says_and_goes_on_learning(trained, tiny_config, load):
    run, policy = trained
    start = load(tiny_config(adapter=str(run)))
    ids = start.tokenizer.encode("The patient has had a fever and a cough for three days.")
    assert start.logprobs(ids) == policy.logprobs(ids)
    assert start.logprobs(ids, adapter=False) == policy.logprobs(ids, adapter=False)
    assert start.logprobs(ids) != start.logprobs(ids, adapter=False)
    learning = {name for name, p in start.model.named_parameters() if p.requires_grad}
    assert learning == {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert start.loaded.adapter == str(run)


def test_a_folder_a_run_and_a_checkpoint_name_an_adapter(trained, tmp_path):
    run, _ = trained
    assert adapter_folder(str(run)) == adapter_folder(str(run / "adapter")) == run / "adapter"
    checkpoint = shutil.copytree(run / "adapter", tmp_path / "checkpoints" / "generation-000001")
    assert adapter_folder(str(checkpoint)) == checkpoint
    with pytest.raises(Refusal, match=r"no adapter there.*runs/NAME/checkpoints"):
        adapter_folder(str(tmp_path))


def test_a_folder_without_one_is_refused_in_one_sentence_before_the_run_starts(
    tiny_config, tmp_path
):
    config = tiny_config(adapter=str(tmp_path))
    with pytest.raises(Refusal) as refused:
        checked_blueprint(config, load_tokenizer(config))
    assert str(refused.value).count("policy.adapter=") == 1
    assert "This model has" not in str(refused.value)


def test_its_lora_settings_are_written_over_the_experiments_own(trained):
    run, _ = trained
    assert (QUICKSTART.policy.lora_rank, QUICKSTART.policy.lora_alpha) == (8, 16)
    config = started("--policy.model", "tiny-qwen3.5", "--policy.adapter", str(run))
    assert (config.lora_rank, config.lora_alpha) == (4, 8)
    assert config.lora_targets == ("down_proj", "o_proj")
    check(run / "adapter", config)


def test_an_adapter_that_is_not_made_yet_is_missed_when_the_run_starts_not_before(tmp_path):
    config = started("--policy.adapter", str(tmp_path / "later"))
    assert config.lora_rank == QUICKSTART.policy.lora_rank


@pytest.mark.parametrize(
    "flags",
    [
        ("--policy.lora-rank", "16"),
        ("--policy.lora-alpha", "4"),
        ("--policy.lora-targets", "q_proj"),
        ("--policy.lora-targets", "all-linear"),
    ],
)
def test_a_lora_setting_that_contradicts_the_adapter_is_refused(trained, flags):
    run, _ = trained
    config = started("--policy.model", "tiny-qwen3.5", "--policy.adapter", str(run), *flags)
    with pytest.raises(Refusal, match=f"Leave {flags[0]} out, or type {flags[0]} "):
        check(run / "adapter", config)


def test_a_name_with_a_part_of_its_path_is_no_contradiction(tiny_config, load, tmp_path):
    config = tiny_config(lora_targets=("mlp.down_proj",))
    load(config).save_adapter(tmp_path)
    check(tmp_path, config)


def test_all_linear_is_no_contradiction_to_an_adapter_of_all_of_them(tiny_config, load, tmp_path):
    config = tiny_config(lora_targets=("all-linear",))
    load(config).save_adapter(tmp_path / "adapter")
    check(tmp_path / "adapter", config)
    check(tmp_path / "adapter", tiny_config(lora_targets=("all-linear",), adapter=str(tmp_path)))


@pytest.fixture
def changed(trained, tmp_path):
    """The trained adapter with other weights, settings or base."""

    def change(rename=None, drop=None, settings=None, base=None):
        folder = shutil.copytree(trained[0] / "adapter", tmp_path / "changed")
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
        if drop:
            del tensors[next(key for key in tensors if drop in key)]
        if rename:
            tensors = {rename(key): tensor.clone() for key, tensor in tensors.items()}
        (folder / WEIGHTS).unlink()
        safetensors.torch.save_file(tensors, folder / WEIGHTS)
        for name, values in ((SETTINGS, settings), ("base.json", base)):
            file = folder / name
            file.write_text(json.dumps(json.loads(file.read_text()) | (values or {})))
        return folder

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drop": "lora_B"}, r"has nothing for \(1, first .*lora_B"),
        (
            {"rename": lambda key: key.replace("model.layers", "model.language_model.layers")},
            r"does not fit Qwen3_5ForCausalLM: it has nothing for .*another class",
        ),
        (
            {"rename": lambda key: key.replace("layers.3", "layers.7")},
            r"does not fit .* has nothing for \(4, first .*layers\.3",
        ),
        ({"base": {"source": "Qwen/Qwen3.5-4B", "folder": "x"}}, "--policy.model Qwen/Qwen3.5-4B"),
        ({"base": {"model_class": "Qwen3_5ForConditionalGeneration"}}, "loaded as Qwen3_5ForCaus"),
        ({"base": {"chat_template_sha": "0"}}, "another chat template"),
        ({"settings": {"peft_type": "IA3"}}, "does not describe a LoRA adapter"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_with_the_reason(
    changed, tiny_config, change, said
):
    with pytest.raises(Refusal, match=re.compile(said, re.DOTALL)):
        check(changed(**change), tiny_config())


def test_weights_that_nothing_takes_are_refused(changed, tiny_config):
    folder = changed()
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    tensors = {key: tensor.clone() for key, tensor in tensors.items()}
    extra = "base_model.model.model.layers.9.mlp.down_proj.lora_A.weight"
    safetensors.torch.save_file(tensors | {extra: torch.zeros(4, 128)}, folder / WEIGHTS)
    with pytest.raises(Refusal, match=f"has what nothing takes .1, first {extra}"):
        check(folder, tiny_config())


def test_an_adapter_with_whole_layers_in_it_is_refused(tiny_config, load, tmp_path):
    from peft import LoraConfig, get_peft_model

    base = load(tiny_config()).model.unload()
    lora = LoraConfig(r=4, target_modules=["o_proj"], modules_to_save=["lm_head"])
    get_peft_model(base, lora).save_pretrained(tmp_path)
    with pytest.raises(Refusal, match=r"has more than the two matrices of LoRA .*lm_head"):
        check(tmp_path, tiny_config(adapter=str(tmp_path), lora_alpha=8, lora_targets=("o_proj",)))


def test_an_adapter_of_another_size_is_refused(changed, tiny_config):
    folder = changed()
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    wider = {key: torch.cat([tensor, tensor], -1) for key, tensor in tensors.items()}
    safetensors.torch.save_file(wider, folder / WEIGHTS)
    with pytest.raises(Refusal, match="has another shape for"):
        check(folder, tiny_config())


def test_an_adapter_from_elsewhere_is_taken_where_all_of_it_fits(changed, tiny_config):
    folder = changed()
    (folder / "base.json").unlink()
    check(folder, tiny_config())


def test_a_note_of_its_base_that_says_nothing_is_named(changed, tiny_config):
    folder = changed()
    for said in ("", "{}", "[]"):
        (folder / "base.json").write_text(said)
        with pytest.raises(Refusal, match=r"base\.json does not say .* Delete it"):
            check(folder, tiny_config())


def test_damaged_weights_are_named(changed, tiny_config):
    folder = changed()
    (folder / WEIGHTS).write_bytes(b"\xff" * 64)
    with pytest.raises(Refusal, match="safetensors is damaged"):
        check(folder, tiny_config())


def test_what_peft_would_load_in_part_is_refused_where_it_is_loaded(changed, tiny_config, load):
    policy = load(tiny_config())
    with pytest.raises(Refusal, match="is not this policy's adapter"):
        policy.load_adapter(changed(drop="lora_A"))
