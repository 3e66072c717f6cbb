"""Four recipes of others: each value against what its source says, and each of them, tiny.

`make smoke-recipes` runs all four, one of them killed and resumed.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.medslm_sft import MEDSLM_SFT
from experiments.neuro_cpt import NEURO_CPT
from experiments.qlora_1b import QLORA_1B
from experiments.triage_sft import TRIAGE_SFT
from rl.config import PolicyConfig, load, to_json
from rl.config.sft import SFTRun
from rl.data.mixture import read_mixture
from rl.policy.load import adapted, counted, load_tokenizer, resolve_model
from rl.run.folder import read_run

ROOT = Path(__file__).parents[2]
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

TRIAGE = {
    "policy.model": "Qwen/Qwen3.5-9B",
    "policy.learns": "adapter",
    "policy.quantise": None,
    "policy.lora_rank": 16,
    "policy.lora_alpha": 16,
    "policy.lora_dropout": 0.0,
    "policy.lora_targets": SEVEN,
    "policy.dtype": "bfloat16",
    "sft.epochs": 1.0,
    "sft.learning_rate": 2e-4,
    "sft.micro_batch_rows": 8,
    "sft.batch_rows": 8 * 2,
    "sft.max_tokens": 4096,
    "sft.optimizer": "adamw_8bit",
    "sft.schedule": "cosine",
    "data.heldout": "sample",
    "data.heldout_rows": 47_500 * 5 // 100,
}
NEURO = {
    "policy.model": "Qwen/Qwen3.5-2B-Base",
    "policy.learns": "weights",
    "sft.optimizer": "adamw_torch",
    "sft.learning_rate": 2e-6,
    "trl": ("adam_beta1=0.9", "adam_beta2=0.95"),
    "sft.weight_decay": 0.1,
    "sft.schedule": "warmup_stable_decay",
    "sft.warmup_share": 0.01,
    "sft.decay_share": 1 - 0.01 - 0.85,
    "sft.max_tokens": 4096,
    "sft.batch_rows": 256,
    "sft.blocks": True,
    "sft.epochs": 1.0,
}
QLORA = {
    "policy.model": "meta-llama/Llama-3.2-1B-Instruct",
    "policy.quantise": "nf4",
    "policy.dtype": "float16",
    "policy.lora_rank": 16,
    "policy.lora_alpha": 32,
    "policy.lora_dropout": 0.05,
    "policy.lora_targets": SEVEN,
    "data.train": "FreedomIntelligence/medical-o1-reasoning-SFT",
    "data.subset": "en",
    "data.split": "train[:9000]",
    "data.heldout_rows": 1000,
    "sft.optimizer": "paged_adamw_8bit",
    "sft.epochs": 3.0,
    "sft.micro_batch_rows": 4,
    "sft.batch_rows": 4 * 4,
    "sft.learning_rate": 2e-4,
}
MEDSLM = {
    "policy.quantise": "nf4",
    "policy.lora_rank": 16,
    "policy.lora_alpha": 32,
    "policy.lora_dropout": 0.0,
    "policy.lora_targets": SEVEN,
    "policy.chat_template": "system-user-assistant",
    "sft.learning_rate": 2e-4,
    "sft.schedule": "cosine",
    "sft.warmup_share": 0.05,
    "sft.micro_batch_rows": 4,
    "sft.batch_rows": 4 * 8,
    "sft.epochs": 3.0,
    "sft.weight_decay": 0.01,
    "trl": ("max_grad_norm=1.0",),
    "sft.optimizer": "adamw_8bit",
    "sft.packing": True,
    "sft.max_tokens": 1024,
    "evaluate_every": 250,
    "save_every": 500,
    "published.loss": (2.9208, 2.2084),
}
PAGES = {
    "triage_sft": (TRIAGE_SFT, TRIAGE),
    "neuro_cpt": (NEURO_CPT, NEURO),
    "qlora_1b": (QLORA_1B, QLORA),
    "medslm_sft": (MEDSLM_SFT, MEDSLM),
}


def value(config, name):
    for part in name.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize(
    ("page", "name"), [(page, name) for page, (_, table) in PAGES.items() for name in table]
)
def test_a_value_is_as_its_source_says(page, name):
    config, table = PAGES[page]
    assert value(config, name) == pytest.approx(table[name])


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_resolves_to_is_as_it_was_and_starts_it_again(page, tmp_path):
    """Whole, where the golden files of --tiny hold what two cores run."""
    config, _ = PAGES[page]
    golden = ROOT / "tests" / "golden" / f"{page}.whole.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(to_json(config))
    assert to_json(config) == golden.read_text()
    assert load(golden, SFTRun) == config


def test_the_mixture_has_the_shares_of_its_source():
    shares = {each.name: each.share for each in read_mixture(NEURO_CPT.data.train, "--data.train")}
    assert shares == {
        "health_records": 0.45,
        "arxiv_neuroscience": 0.25,
        "pubmed_neuroscience": 0.15,
        "general_medicine": 0.12,
        "english": 0.03,
    }


def test_a_step_of_continued_pretraining_reads_about_a_million_tokens():
    assert NEURO_CPT.sft.batch_rows * NEURO_CPT.sft.max_tokens == 1_048_576


LLAMA_32_1B = {
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
}
MEDSLM_SHAPE = {
    "vocab_size": 50257,
    "hidden_size": 1024,
    "intermediate_size": 2752,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
}


@pytest.mark.parametrize(
    ("shape", "config", "base", "learning"),
    [
        (LLAMA_32_1B, QLORA_1B.policy, 1_235_814_400, 11_272_192),
        (MEDSLM_SHAPE, MEDSLM_SFT.policy, 329_910_272, 7_102_464),
    ],
)
def test_what_learns_is_counted_on_the_real_shapes(shape, config, base, learning):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True))
        assert counted(model)["parameters"] == base
        count = counted(adapted(model, config))
    assert count == {"parameters_trained": learning, "parameters": base + learning}


def test_medslms_prompt_is_its_three_headings_and_its_answer_ends():
    config = PolicyConfig(model="tiny-llama", chat_template="system-user-assistant")
    tokenizer = load_tokenizer(config)
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is flu?"},
    ]
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    assert prompt == "### System\nBe brief.\n\n### User\nWhat is flu?\n\n### Assistant\n"
    answered = [*asked, {"role": "assistant", "content": "A virus."}]
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    assert whole == f"{prompt}A virus.{tokenizer.eos_token}"


def start(page: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{page}", *args],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


KILLED = "neuro_cpt"
WHOLE = "WHOLE" in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES if WHOLE else [KILLED, "qlora_1b"])
def test_a_recipe_runs_to_its_end(page, tmp_path):
    process = start(page, "--tiny", "--out", str(tmp_path), "--tracking.mode", "offline")
    folder = tmp_path / f"{page.replace('_', '-')}-tiny"
    if page == KILLED:
        while not [*folder.glob("checkpoints/step-*")]:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        time.sleep(random.Random(0).uniform(0, 0.3))
        process.kill()
        process.communicate()
        process = start(page, "--resume", str(folder))
    output = ended(process)
    run = read_run(folder)
    steps = run.config["sft"]["steps"]
    assert [row["step"] for row in run.metrics] == [*range(steps + 1)]
    assert not run.summary["stopped"]
    assert run.summary["heldout_loss_after"] < run.summary["heldout_loss_before"]
    if page == "neuro_cpt":
        assert (folder / "model" / "model.safetensors").is_file()
        assert not (folder / "adapter").exists()
        assert "heldout/loss/health_records" in run.metrics[-1]
        assert "Perplexity by domain" in (folder / "report.html").read_text()
        assert resolve_model(str(folder)) == str(folder / "model")
        assert "GSPO" not in output
    else:
        assert (folder / "adapter" / "adapter_model.safetensors").is_file()
        assert f"--policy.adapter {folder}" in output
