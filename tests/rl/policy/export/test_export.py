"""What leaves a run is the policy that was trained, or it does not leave."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer

from experiments.quickstart import QUICKSTART
from rl.config import PolicyConfig, to_json
from rl.config.evaluate import EvaluateRun
from rl.config.export import Export
from rl.config.sft import SFTRun
from rl.policy import files
from rl.policy.adapter import SETTINGS, WEIGHTS
from rl.policy.export import gguf_file
from rl.policy.export.export import export
from rl.policy.export.proof import Fidelity
from rl.policy.files import sha256
from rl.refusal import Refusal
from rl.run.folder import read_run
from rl.run.lifecycle import run
from rl.stages.gspo import GSPOStage


def exported(trained, out, **flags):
    export(Export(run=str(trained), out=str(out), **({"prompts": 2, "new_tokens": 12} | flags)))
    return json.loads((out / "export.json").read_text())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_llama_leaves_in_three_forms_each_the_same_policy(any_llama, make_trained, tmp_path):
    out = tmp_path / "out"
    report = exported(make_trained(any_llama), out, to=("adapter", "merged", "gguf"))
    adapter, merged, gguf = report["proof"]
    assert (adapter["loaded_by"], adapter["farthest"]) == ("PEFT", 0)
    assert (merged["loaded_by"], merged["dtype"]) == ("transformers", "float32")
    assert merged["farthest"] < 1e-4
    assert merged["equal_texts"] == merged["texts"] == 2
    assert (gguf["loaded_by"], gguf["dtype"]) == ("llama.cpp", "q8_0")
    assert 0 < gguf["farthest"] < gguf["bound"] == 1
    assert names(out) == ["adapter", "export.json", "merged", "trained-Q8_0.gguf"]
    assert all(sha256(out / name) == digest for name, digest in report["files"].items())
    assert len(report["files"]) >= 7


def test_the_merged_model_has_the_runs_template_and_ends(llama, make_trained, tmp_path):
    out = tmp_path / "out"
    exported(make_trained(llama), out, to=("merged",))
    ours, theirs = (AutoTokenizer.from_pretrained(each) for each in (llama, out / "merged"))
    assert theirs.chat_template == ours.chat_template
    generation = json.loads((out / "merged" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == ours.eos_token_id
    base, merged = (AutoModelForCausalLM.from_pretrained(each) for each in (llama, out / "merged"))
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert (base(ids).logits - merged(ids).logits).abs().max() > 0.1


def test_in_16_bits_it_drifts_as_far_as_these_explain(llama, make_trained, tmp_path):
    report = exported(make_trained(llama), tmp_path / "out", dtype="bfloat16")
    assert [each["dtype"] for each in report["proof"]] == ["float32", "bfloat16"]
    assert 1e-3 < report["proof"][1]["farthest"] < report["proof"][1]["bound"]
    config = json.loads((tmp_path / "out" / "merged" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"


def test_of_a_vision_language_checkpoint_the_language_model_leaves(make_trained, tmp_path):
    trained = make_trained("tiny-qwen3.5-vl", lora_targets=("all-linear",))
    report = exported(trained, tmp_path / "out")
    assert [each["equal_texts"] for each in report["proof"]] == [2, 2]
    config = json.loads((tmp_path / "out" / "merged" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3_5ForCausalLM"]


def test_a_gguf_keeps_matrices_in_8_bits_and_norms_whole(llama, make_trained, tmp_path):
    exported(make_trained(llama), tmp_path / "out", to=("gguf",))
    reader = GGUFReader(tmp_path / "out" / "trained-Q8_0.gguf")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds["blk.1.attn_q.weight"] == kinds["token_embd.weight"] == "Q8_0"
    assert kinds["output_norm.weight"] == "F32"
    assert len(kinds) == 2 + 9 * 2


def test_a_gguf_that_is_another_model_is_not_exported(llama, make_trained, tmp_path, monkeypatch):
    trained = make_trained(llama)
    monkeypatch.setattr(gguf_file, "turned", lambda tensors, head_dim, to: tensors)
    with pytest.raises(Refusal, match=r"gguf by llama\.cpp.*another model, and it is not exported"):
        exported(trained, tmp_path / "out", to=("gguf",))
    assert names(tmp_path) == ["runs"]


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"farthest": 0.2}, "another model"),
        ({"farthest": math.nan}, "another model"),
        ({"equal_texts": 1}, "should say the same"),
    ],
)
def test_what_does_not_hold_is_refused_with_its_figures(figures, said):
    fidelity = Fidelity(
        **{
            "form": "merged",
            "loaded_by": "transformers",
            "of": "logits",
            "dtype": "float32",
            "farthest": 1e-6,
            "mean": 1e-7,
            "bound": 1e-4,
            "equal_texts": 2,
            "texts": 2,
        }
        | figures
    )
    with pytest.raises(Refusal, match=said):
        fidelity.hold()


def test_a_run_of_whole_weights_is_a_model_already(llama, make_trained, tmp_path):
    trained = make_trained(llama)
    policy = PolicyConfig(model=str(llama), learns="weights")
    (trained / "config.json").write_text(to_json(SFTRun(policy=policy)))
    with pytest.raises(Refusal, match=rf"{trained}/model is a whole model, .*--policy\.model"):
        exported(trained, tmp_path / "out")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "is not a run's folder"),
        (lambda run: (run / "config.json").write_text("{"), "is not a run's folder"),
        (lambda run: (run / "config.json").write_text('{"kind": "x"}'), "of kind x"),
        (lambda run: (run / "config.json").write_text(to_json(EvaluateRun())), "of kind evaluate"),
        (lambda run: shutil.rmtree(run / "adapter"), "did not come to its end"),
        (lambda run: (run / "adapter" / WEIGHTS).unlink(), "no adapter there"),
        (lambda run: (run / "adapter" / SETTINGS).write_text("{"), "does not describe a LoRA"),
        (lambda run: (run / "adapter" / WEIGHTS).write_bytes(b"torn"), "is damaged"),
    ],
)
def test_a_run_that_is_none_and_an_adapter_that_is_torn_are_refused(
    llama, make_trained, tmp_path, spoil, said
):
    trained = make_trained(llama)
    spoil(trained)
    with pytest.raises(Refusal, match=said):
        exported(trained, tmp_path / "out")
    assert names(tmp_path) == ["runs"]


def test_a_disk_that_is_too_small_is_told_before_a_weight_is_read(
    llama, make_trained, tmp_path, monkeypatch
):
    trained = make_trained(llama)
    usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr("rl.policy.export.export.load_policy", pytest.fail)
    with pytest.raises(Refusal, match=r"0\.00 GB left.*Make room"):
        exported(trained, tmp_path / "out")
    assert names(tmp_path) == ["runs"]


def test_a_gguf_that_cannot_be_made_here_is_told_before_a_weight_is_read(
    llama, make_trained, tmp_path, monkeypatch
):
    monkeypatch.setattr("rl.policy.export.export.load_policy", pytest.fail)
    trained = make_trained(llama)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Refusal, match=r"llama-quantize, which is not on the path.*--quant q8_0"):
        exported(trained, tmp_path / "out", to=("gguf",), quant="q4_k_m")
    shutil.rmtree(trained)
    qwen = make_trained("tiny-qwen3.5")
    with pytest.raises(Refusal, match=r"of type qwen3_5_text, and only a llama"):
        exported(qwen, tmp_path / "out", to=("gguf",))
    assert names(tmp_path) == ["runs"]


@pytest.mark.slow
def test_smollm2_leaves_as_what_it_is(make_trained, tmp_path):
    trained = make_trained("smollm2-135m", dtype="float32")
    forms = ("adapter", "merged", "gguf")
    report = exported(trained, tmp_path / "out", to=forms, prompts=3, new_tokens=16)
    adapter, merged, gguf = report["proof"]
    assert adapter["farthest"] == 0
    assert merged["farthest"] < merged["bound"] / 3, "a hundred-thousandth of the largest logit"
    assert merged["mean"] < 1e-4
    assert adapter["equal_texts"] == merged["equal_texts"] == 3
    assert gguf["mean"] < 0.1


@pytest.mark.slow
def test_a_merged_model_is_what_the_next_run_begins_with(llama, make_trained, tmp_path):
    exported(make_trained(llama), tmp_path / "out", to=("merged",))
    merged = str(tmp_path / "out" / "merged")
    config = dataclasses.replace(
        QUICKSTART,
        out=str(tmp_path),
        name="next",
        policy=PolicyConfig(model=merged, lora_rank=4, lora_alpha=8, dtype="float32"),
        data=dataclasses.replace(QUICKSTART.data, heldout_rows=2),
        rollout=dataclasses.replace(QUICKSTART.rollout, engine="transformers", max_new_tokens=16),
        gspo=dataclasses.replace(QUICKSTART.gspo, generations=1, prompts=2, group_size=8),
        tracking=dataclasses.replace(QUICKSTART.tracking, mode="disabled"),
    )
    assert run(GSPOStage(config), "-m experiments.quickstart") == 0
    after = read_run(tmp_path / "next")
    assert len(after.metrics) == 1
    base = json.loads((tmp_path / "next" / "adapter" / "base.json").read_text())
    assert base["source"] == merged
