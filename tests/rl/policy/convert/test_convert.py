"""Weights under other names: the same model as a Llama, and back, or a refusal that names why."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rl.command import command
from rl.config.convert import Conversion
from rl.policy import files
from rl.policy.convert.convert import convert
from rl.policy.convert.llama import inferred_config, shell
from rl.policy.convert.names import places, read_names
from rl.policy.models import resolve_model
from rl.refusal import Refusal

SHAPE = {"head_dim": 16, "rope_theta": 500.0}


def write(file, source, **changes):
    save_file({name: each.contiguous() for name, each in source.weights.items()} | changes, file)
    said = {"input_ids": source.ids, "logits": source.logits}
    save_file(said, file.with_name("logits.safetensors"))
    return str(file)


def to_llama(source: str, out: Path, **flags) -> Path:
    convert(Conversion(from_=source, out=str(out), **(SHAPE | flags)))
    return out


def logits(folder, ids_BL):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder)(ids_BL).logits


@pytest.mark.parametrize("rotary", ["halves", "pairs"])
def test_a_model_written_without_transformers_says_the_same_as_a_llama(theirs, rotary, tmp_path):
    source = theirs(rotary)
    file = write(tmp_path / "weights.safetensors", source)
    proof = str(tmp_path / "logits.safetensors")
    folder = to_llama(file, tmp_path / "llama", rotary=rotary, logits=proof)
    assert (logits(folder, source.ids) - source.logits).abs().max() < 1e-4
    assert source.logits.abs().max() > 3
    report = json.loads((folder / "conversion.json").read_text())
    assert report["tensors"] == 2 + 9 * 3
    assert report["parameters"] == sum(each.numel() for each in source.weights.values())
    assert report["logits"]["farthest"] <= report["logits"]["bound"]


def test_queries_and_keys_that_lie_otherwise_than_declared_are_refused_by_name(theirs, tmp_path):
    for rotary, declared in (("pairs", "halves"), ("halves", "pairs")):
        file = write(tmp_path / f"{rotary}.safetensors", theirs(rotary))
        with pytest.raises(Refusal, match=rf"q_proj and k_proj.*--rotary {rotary}"):
            to_llama(
                file,
                tmp_path / "llama",
                rotary=declared,
                logits=str(tmp_path / "logits.safetensors"),
            )
    assert not (tmp_path / "llama").exists()


def test_what_neither_layout_explains_is_refused(theirs, tmp_path):
    file = write(tmp_path / "weights.safetensors", theirs())
    proof = str(tmp_path / "logits.safetensors")
    with pytest.raises(Refusal, match=r"neither layout.*--rope-theta"):
        to_llama(file, tmp_path / "llama", rope_theta=10.0, logits=proof)


@pytest.mark.parametrize("rotary", ["halves", "pairs"])
def test_there_and_back_every_tensor_and_every_logit_is_the_same_to_the_bit(
    theirs, rotary, tmp_path
):
    source = theirs(rotary)
    file = write(tmp_path / "weights.safetensors", source)
    folder = to_llama(file, tmp_path / "llama", rotary=rotary)
    convert(Conversion(from_=str(folder), out=str(tmp_path / "back"), rotary=rotary))
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == source.weights.keys()
    assert all(back[name].equal(source.weights[name]) for name in back)
    again = tmp_path / "again"  # the file says of itself what flags said
    convert(Conversion(from_=str(tmp_path / "back" / "model.safetensors"), out=str(again)))
    assert logits(again, source.ids).equal(logits(folder, source.ids))
    assert (again / "config.json").read_text() == (folder / "config.json").read_text()


def test_the_other_names_of_the_norms_are_known(theirs, tmp_path):
    source = theirs()
    renamed = {
        name.replace("norm1", "attn_norm").replace("norm2", "ffn_norm"): each
        for name, each in source.weights.items()
    }
    save_file(renamed, tmp_path / "weights.safetensors")
    folder = to_llama(str(tmp_path / "weights.safetensors"), tmp_path / "llama")
    assert (logits(folder, source.ids) - source.logits).abs().max() < 1e-4


def test_a_torch_file_is_read_without_running_what_it_holds(theirs, tmp_path):
    source = theirs()
    torch.save({"model": source.weights, "step": 7}, tmp_path / "checkpoint.pt")
    with pytest.raises(Refusal, match="Weights lie under model: type --key model"):
        to_llama(str(tmp_path / "checkpoint.pt"), tmp_path / "llama")
    folder = to_llama(str(tmp_path / "checkpoint.pt"), tmp_path / "llama", key="model")
    assert (logits(folder, source.ids) - source.logits).abs().max() < 1e-4
    torch.save({"model": Path("anything that is called")}, tmp_path / "code.pt")
    with pytest.raises(Refusal, match="not a torch file of weights alone"):
        to_llama(str(tmp_path / "code.pt"), tmp_path / "other")


def without(name):
    return lambda weights: weights.pop(name)


def spare(name, like="norm_f.weight"):
    return lambda weights: weights.update({name: weights[like] + 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("blocks.1.norm2.weight"), r"no blocks\.1\.norm2\.weight or blocks\.1\.ffn_norm"),
        (without("norm_f.weight"), r"no norm_f\.weight"),
        (without("tok_emb.weight"), r"no tok_emb\.weight"),
        (spare("blocks.0.attn.wq.bias"), r"has blocks\.0\.attn\.wq\.bias \(1 such\)"),
        (spare("blocks.0.attn_norm.weight"), r"both blocks\.0\.norm1\.weight and blocks\.0\.attn_"),
        (spare("lm_head.weight", "tok_emb.weight"), r"lm_head\.weight .* is not tok_emb\.weight"),
        (spare("blocks.3.norm1.weight"), r"no blocks\.3\.attn\.wq\.weight"),
        (
            lambda weights: weights.update({"blocks.2.attn.wk.weight": torch.ones(16, 64)}),
            r"blocks\.2\.attn\.wk\.weight .* \[16, 64\].* \[32, 64\]",
        ),
        (
            lambda weights: weights["blocks.2.ffn.w_up.weight"].fill_(torch.inf),
            r"blocks\.2\.ffn\.w_up\.weight .* not finite",
        ),
        (
            lambda weights: weights.update({"norm_f.weight": torch.ones(64, dtype=torch.int8)}),
            r"norm_f\.weight .* torch\.int8",
        ),
    ],
)
def test_weights_that_are_not_one_whole_model_are_refused_by_name(theirs, change, said, tmp_path):
    source = theirs()
    change(source.weights)
    file = write(tmp_path / "weights.safetensors", source)
    with pytest.raises(Refusal, match=said):
        to_llama(file, tmp_path / "llama")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "logits.safetensors",
        "weights.safetensors",
    ]


def test_a_head_that_is_its_embedding_is_taken_once(theirs, tmp_path):
    source = theirs()
    weights = source.weights | {"head.weight": source.weights["tok_emb.weight"].clone()}
    save_file(weights, tmp_path / "weights.safetensors")
    folder = to_llama(str(tmp_path / "weights.safetensors"), tmp_path / "llama")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")


def test_a_head_dim_that_divides_nothing_is_refused(theirs, tmp_path):
    file = write(tmp_path / "weights.safetensors", theirs())
    with pytest.raises(Refusal, match="no whole heads of 24"):
        to_llama(file, tmp_path / "llama", head_dim=24)


def test_a_flag_that_says_otherwise_than_the_file_is_refused(theirs, tmp_path):
    folder = to_llama(write(tmp_path / "weights.safetensors", theirs()), tmp_path / "llama")
    convert(Conversion(from_=str(folder), out=str(tmp_path / "back")))
    with pytest.raises(Refusal, match=r"--rotary is pairs.*says of itself that it is halves"):
        convert(
            Conversion(
                from_=str(tmp_path / "back" / "model.safetensors"),
                out=str(tmp_path / "again"),
                rotary="pairs",
            )
        )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tie_word_embeddings": False}, r"lm_head\.weight .* is not its embedding.*tied = false"),
        ({"attention_bias": True}, r"k_proj\.bias .* no name in medslm"),
        ({"hidden_act": "gelu"}, "hidden_act is gelu"),
    ],
)
def test_a_llama_that_the_other_names_cannot_hold_is_refused(settings, said, tmp_path):
    plain = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(**plain, **heads, **({"tie_word_embeddings": True} | settings))
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    with pytest.raises(Refusal, match=said):
        convert(Conversion(from_=str(tmp_path / "llama"), out=str(tmp_path / "back")))
    assert not (tmp_path / "back").exists()


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    theirs, tmp_path, monkeypatch
):
    file = write(tmp_path / "weights.safetensors", theirs())
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(Refusal, match=r"0\.00 GB left.*--out"):
        to_llama(file, tmp_path / "deep" / "llama")
    assert not (tmp_path / "deep").exists()


def test_a_refusal_is_a_sentence_without_a_traceback(tmp_path):
    flags = ["--from", str(tmp_path / "nothing.safetensors"), "--out", str(tmp_path / "llama")]
    with pytest.raises(SystemExit, match=r"^convert: --from .*no such file"):
        command(Conversion, convert, prog="convert", description="", args=flags)


def test_a_tokenizer_of_more_tokens_is_another_models(theirs, tmp_path):
    file = write(tmp_path / "weights.safetensors", theirs())
    with pytest.raises(Refusal, match="has 1024 tokens, and the model 120"):
        to_llama(file, tmp_path / "llama", tokenizer="tiny-qwen3.5")


def test_nothing_is_written_over(theirs, tmp_path):
    file = write(tmp_path / "weights.safetensors", theirs())
    (tmp_path / "llama").mkdir()
    with pytest.raises(Refusal, match="is there already"):
        to_llama(file, tmp_path / "llama")


def test_a_table_of_names_of_ones_own_is_read_and_a_slip_is_told(theirs, tmp_path):
    ours = (read_names.__globals__["HERE"] / "medslm.toml").read_text()
    (tmp_path / "mine.toml").write_text(ours.replace("blocks.", "layers.").replace("= 64", "= 16"))
    weights = {name.replace("blocks.", "layers."): each for name, each in theirs().weights.items()}
    save_file(weights, tmp_path / "weights.safetensors")
    file, mine = str(tmp_path / "weights.safetensors"), str(tmp_path / "mine.toml")
    convert(Conversion(from_=file, out=str(tmp_path / "llama"), names=mine))
    with pytest.raises(Refusal, match="did you mean 'medslm'"):
        convert(Conversion(from_=file, out=str(tmp_path / "other"), names="medlsm"))
    (tmp_path / "mine.toml").write_text("[tensors]\n")
    with pytest.raises(Refusal, match="not a table of names"):
        convert(Conversion(from_=file, out=str(tmp_path / "other"), names=mine))


def test_medslm_has_218_tensors_and_329_910_272_parameters():
    names = read_names("medslm")
    layer = {
        "attn.wq": (1024, 1024),
        "attn.wk": (512, 1024),
        "attn.wv": (512, 1024),
        "attn.wo": (1024, 1024),
        "ffn.w_gate": (2752, 1024),
        "ffn.w_up": (2752, 1024),
        "ffn.w_down": (1024, 2752),
        "norm1": (1024,),
        "norm2": (1024,),
    }
    shapes = {f"blocks.{i}.{part}.weight": of for i in range(24) for part, of in layer.items()}
    shapes |= {"tok_emb.weight": (50257, 1024), "norm_f.weight": (1024,)}
    called = places(names, shapes, "MedSLM")
    assert len(called) == 218
    config = inferred_config({ours: shapes[at] for ours, at in called.items()}, names.declared)
    assert (config.num_attention_heads, config.num_key_value_heads) == (16, 8)
    assert shell(config).num_parameters() == 329_910_272


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """SmolLM2 under MedSLM's names, with its tokenizer, and a page of English."""
    folder = tmp_path_factory.mktemp("smollm2")
    convert(Conversion(from_="smollm2-135m", out=str(folder / "theirs"), tokenizer="smollm2-135m"))
    license = Path(__file__).parents[4] / "LICENSE"
    (folder / "text.txt").write_text(license.read_text()[:3000])
    return folder


@pytest.mark.slow
def test_smollm2_comes_back_to_the_bit(smollm2, tmp_path):
    whole = resolve_model("smollm2-135m")
    back = tmp_path / "back"
    convert(
        Conversion(
            from_=str(smollm2 / "theirs" / "model.safetensors"),
            out=str(back),
            tokenizer=str(smollm2 / "theirs"),
            text=str(smollm2 / "text.txt"),
        )
    )
    ours, again = (load_file(Path(each) / "model.safetensors") for each in (whole, back))
    assert ours.keys() == again.keys()
    assert all(ours[name].equal(again[name]) for name in ours)
    ids = torch.arange(100, 140)[None]
    assert logits(whole, ids).equal(logits(back, ids))
    assert 1 < json.loads((back / "conversion.json").read_text())["text"]["perplexity"] < 30


@pytest.mark.slow
def test_a_text_tells_how_queries_and_keys_lie(smollm2, tmp_path):
    weights = load_file(smollm2 / "theirs" / "model.safetensors")
    save_file(weights, tmp_path / "weights.safetensors")
    asked = Conversion(
        from_=str(tmp_path / "weights.safetensors"),
        out=str(tmp_path / "back"),
        rope_theta=100_000.0,
        rotary="pairs",
        tokenizer=str(smollm2 / "theirs"),
        text=str(smollm2 / "text.txt"),
    )
    with pytest.raises(Refusal, match=r"q_proj and k_proj.*perplexity.*--rotary halves"):
        convert(asked)
    assert not (tmp_path / "back").exists()
