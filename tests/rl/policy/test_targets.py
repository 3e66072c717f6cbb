"""Which layers learn, how many parameters that is, and what is said of a name that is none."""

import pytest

from rl.policy.blueprint import draw_blueprint
from rl.policy.load import load_tokenizer
from rl.policy.models import resolve_model
from rl.refusal import Refusal

BOTH = ("tiny-qwen3.5", "tiny-qwen3.5-vl")
FULL_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
LINEAR_ATTENTION = {"in_proj_qkv", "in_proj_z", "in_proj_a", "in_proj_b", "out_proj"}
MLP = {"gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("model", BOTH)
def test_all_linear_is_every_projection_of_the_language_model_and_nothing_else(
    model, tiny_config, load
):
    adapted = {
        name.partition(".layers.")[2].partition(".lora_A")[0]
        for name, parameter in load(
            tiny_config(model, lora_targets=("all-linear",))
        ).model.named_parameters()
        if parameter.requires_grad and ".lora_A" in name
    }
    attention = {
        f"{layer}.self_attn.{name}" if layer == 3 else f"{layer}.linear_attn.{name}"
        for layer in range(4)
        for name in (FULL_ATTENTION if layer == 3 else LINEAR_ATTENTION)
    }
    assert adapted == attention | {f"{layer}.mlp.{name}" for layer in range(4) for name in MLP}


@pytest.mark.parametrize("model", BOTH)
def test_the_server_is_told_the_same_names(model, tiny_config):
    config = tiny_config(model, lora_targets=("all-linear",))
    blueprint = draw_blueprint(config, load_tokenizer(config))
    assert set(blueprint.lora_targets) == FULL_ATTENTION | LINEAR_ATTENTION | MLP
    assert blueprint.is_wrapped == (model == "tiny-qwen3.5-vl")


@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "down_proj")])
def test_the_blueprint_is_the_policy_that_is_loaded(targets, tiny_config, load, tmp_path):
    config = tiny_config("tiny-qwen3.5-vl", lora_targets=targets)
    from safetensors.torch import load_file

    policy = load(config)
    policy.save_adapter(tmp_path)
    blueprint = draw_blueprint(config, policy.tokenizer)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert blueprint.adapter_shapes == {key: tuple(each.shape) for key, each in saved.items()}
    assert blueprint.model_class == policy.loaded.model_class
    assert blueprint.chat_template_sha == policy.loaded.chat_template_sha


def test_what_learns_is_counted_and_told(tiny_config, load):
    """Rank times the sum of in and out, of each adapted matrix."""
    policy = load(tiny_config(lora_targets=("q_proj", "down_proj", "in_proj_qkv")))
    hidden, inner, heads = 64, 128, 2 * 64 * 2  # a gate lies beside each query
    qkv = 128 + 128 + 2 * 128
    expected = 4 * ((hidden + heads) + 4 * (inner + hidden) + 3 * (hidden + qkv))
    assert policy.parameters["parameters_trained"] == expected
    assert policy.parameters["parameters"] == 401_228 + expected
    assert f"{expected:,} parameters learn (2.73%)" in policy.told()


def test_a_name_that_is_no_module_is_refused_though_another_is_found(tiny_config):
    config = tiny_config(lora_targets=("q_proj", "dwn_proj"))
    with pytest.raises(Refusal, match=r"no module is called 'dwn_proj'. This model has: down_proj"):
        draw_blueprint(config, load_tokenizer(config))
    with pytest.raises(
        Refusal, match=r"policy.lora_targets=nothing: .* or all of them: all-linear"
    ):
        draw_blueprint(tiny_config(lora_targets=("nothing",)), load_tokenizer(config))


def test_a_name_with_a_part_of_its_path_is_found(tiny_config):
    config = tiny_config(lora_targets=("mlp.down_proj",))
    assert draw_blueprint(config, load_tokenizer(config)).lora_targets == ("down_proj",)


def test_a_blueprint_reads_no_weights(tiny_config, tmp_path, monkeypatch):
    import shutil

    folder = shutil.copytree(resolve_model("tiny-qwen3.5"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    config = tiny_config(str(folder))
    assert draw_blueprint(config, load_tokenizer(config)).adapter_shapes
