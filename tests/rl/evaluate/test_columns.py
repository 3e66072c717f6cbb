"""Whom a person may name, and what goes along with it."""

import dataclasses
import json

import pytest

from rl.config import to_json
from rl.config.evaluate import EvaluateRun
from rl.config.sft import SFTRun
from rl.config.shared import DataConfig, PolicyConfig
from rl.evaluate.columns import Control, columns_of
from rl.evaluate.opened import candidate_of, opened
from rl.policy.load import load_policy, load_tokenizer
from rl.refusal import Refusal

TINY = PolicyConfig(model="tiny-qwen3.5", lora_rank=2, lora_alpha=4, lora_targets=("down_proj",))


def columns(*entries, **settings):
    return columns_of(EvaluateRun(columns=entries, **settings))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder as training leaves it, its adapter moved a little."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    data = DataConfig(system_prompt="Be short.", thinking=True)
    policy = load_policy(TINY, load_tokenizer(TINY), seed=0)
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            weight.data += 0.3
    policy.save_adapter(run / "adapter")
    policy.save_adapter(run / "checkpoints" / "step-000002")
    (run / "config.json").write_text(to_json(SFTRun(policy=TINY, data=data)))
    return run


def test_a_run_brings_its_adapter_and_how_it_is_asked(trained):
    base, tuned = columns("tiny-qwen3.5", f"mine={trained}")
    assert (base.label, base.policy.adapter, base.system_prompt) == ("tiny-qwen3.5", None, "")
    assert (tuned.label, tuned.policy.lora_rank) == ("mine", 2)
    assert tuned.policy.adapter == str(trained / "adapter")
    assert (tuned.system_prompt, tuned.thinking) == ("Be short.", True)


def test_a_run_alone_is_held_against_what_it_began_with_asked_alike(trained):
    before, after, _ = columns(str(trained), "oracle")
    assert (before.label, after.label) == ("tiny-qwen3.5", "trained")
    assert before.policy.adapter is None
    assert (before.system_prompt, before.thinking) == (after.system_prompt, after.thinking)


def test_who_learnt_to_think_from_written_reasonings_is_asked_to_think(tmp_path):
    """Each row was, whatever data.thinking leaves open."""
    run = tmp_path / "thinker"
    load_policy(TINY, load_tokenizer(TINY), seed=0).save_adapter(run / "adapter")
    (run / "config.json").write_text(to_json(SFTRun(policy=TINY)))
    (run / "summary.json").write_text(json.dumps({"thinks": True}))
    assert [column.thinking for column in columns(str(run))] == [True, True]
    (run / "summary.json").write_text(json.dumps({"thinks": False}))
    assert [column.thinking for column in columns(str(run))] == [None, None]


def test_an_adapters_folder_is_asked_as_its_run_is(trained):
    last, earlier = columns(str(trained / "adapter"), str(trained / "checkpoints" / "step-000002"))
    assert (last.label, earlier.label) == ("trained", "trained-step-000002")
    assert earlier.policy.adapter.endswith("step-000002")
    assert earlier.system_prompt == "Be short."


def test_an_adapter_from_elsewhere_says_what_it_belongs_to(trained, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in (trained / "adapter").iterdir():
        (alone / file.name).write_bytes(file.read_bytes())
    (column,) = columns(str(alone))
    assert (column.label, column.policy.model) == ("alone", "tiny-qwen3.5")
    (alone / "base.json").unlink()
    settings = json.loads((alone / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = None
    (alone / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(Refusal, match="does not say what it belongs to"):
        columns(str(alone))


def test_what_the_command_line_says_is_said_to_all(trained):
    asked = columns("tiny-qwen3.5", str(trained), system_prompt="", thinking=False, dtype="float32")
    assert {(each.system_prompt, each.thinking, each.policy.dtype) for each in asked} == {
        ("", False, "float32")
    }


def test_controls_are_named_as_policies_are():
    _, oracle, always = columns("tiny-qwen3.5", "oracle", "constant:A")
    assert oracle == Control(label="oracle", name="oracle")
    assert always == Control(label="constant-A", name="constant:A")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ((), "whom to measure"),
        (("smolm2-135m",), "did you mean 'smollm2-135m'"),
        (("orcle", "tiny-qwen3.5"), "did you mean 'oracle'"),
        (("/nowhere/at-all",), "no such run, adapter or model"),
        (("a/b=tiny-qwen3.5",), "write NAME=WHOM"),
        (("tiny-qwen3.5", "tiny-qwen3.5"), "2 columns are called tiny-qwen3.5"),
        (("random", "tiny-qwen3.5"), "Name the model before it"),
    ],
)
def test_what_is_nobody_is_refused(entries, said):
    with pytest.raises(Refusal, match=said):
        columns(*entries)


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(Refusal, match="no run, no adapter and no model"):
        columns(str(tmp_path))


def losses(column):
    candidate = candidate_of(column)
    with opened(column, candidate, seed=0) as policy:
        return policy.logprobs(candidate.tokenizer("Insulin lowers blood sugar.")["input_ids"])


def test_each_column_is_the_weights_it_names(trained):
    base, tuned, drawn = columns("tiny-qwen3.5", str(trained), "random")
    plain = dataclasses.replace(TINY, dtype="float32")
    policy = load_policy(plain, load_tokenizer(plain), seed=0)
    ids = policy.tokenizer("Insulin lowers blood sugar.")["input_ids"]
    assert losses(base) == pytest.approx(policy.logprobs(ids, adapter=False), abs=1e-6)
    policy.load_adapter(trained / "adapter")
    assert losses(tuned) == pytest.approx(policy.logprobs(ids), abs=1e-5)
    assert losses(tuned) != pytest.approx(losses(base), abs=1e-3)
    assert losses(drawn) != pytest.approx(losses(base), abs=1e-3)


def test_an_adapter_that_does_not_fit_names_its_column(trained, tmp_path):
    (column,) = columns(f"mine={trained / 'adapter'}")
    wider = dataclasses.replace(column, policy=dataclasses.replace(column.policy, lora_rank=4))
    with pytest.raises(Refusal, match="column mine: "):
        candidate_of(wider)
