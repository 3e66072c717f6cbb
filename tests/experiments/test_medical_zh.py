"""The Chinese medical recipe: each value against what its source says, and the whole of it, tiny.

`make smoke-recipe` runs it on both classes of Qwen3.5 and both think templates, served by vLLM.
"""

import importlib.util
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.medical_zh_gspo import GPU_24GB, MEDICAL_ZH_GSPO
from experiments.medical_zh_sft import GPU_80GB, MEDICAL_ZH_SFT
from rl.config import with_preset, with_values
from rl.run.folder import read_run

ROOT = Path(__file__).parents[2]
TORCHVISION = ROOT / "build" / "torchvision"
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

OF_THE_SOURCE = {
    "policy.model": "Qwen/Qwen3.5-4B",
    "policy.lora_rank": 16,
    "policy.lora_alpha": 32,
    "policy.lora_targets": SEVEN,
    "data.train": "FreedomIntelligence/medical-o1-reasoning-SFT",
    "data.subset": "zh",
}
OF_ITS_SFT = OF_THE_SOURCE | {
    "data.fields": ("question=Question", "reasoning=Complex_CoT", "answer=Response"),
}
OF_ITS_GSPO = OF_THE_SOURCE | {
    "data.fields": ("question=Question", "answer=Response"),
    "data.thinking": True,
    "rollout.max_total_tokens": 2048,
    "judge.backend": "deepseek",
    "judge.rubric": "medical_zh",
    "gspo.micro_batch_rows": 2,
    "gspo.prompts": 2,
    "gspo.group_size": 4,
    "gspo.minibatches": 1,
    "gspo.aggregation": "dr_grpo",
    "published.reward": (0.57, 0.89),
    "published.kl": 0.5,
}


def value(config, name):
    for part in name.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize("name", OF_ITS_SFT)
def test_the_sft_is_as_its_source_says(name):
    assert value(MEDICAL_ZH_SFT, name) == OF_ITS_SFT[name]


@pytest.mark.parametrize("name", OF_ITS_GSPO)
def test_the_gspo_is_as_its_source_says(name):
    assert value(MEDICAL_ZH_GSPO, name) == OF_ITS_GSPO[name]


def test_an_optimizer_step_takes_eight_rows_in_four_passes_of_two():
    gspo = MEDICAL_ZH_GSPO.gspo
    assert gspo.rows // gspo.minibatches == 8
    assert gspo.rows // gspo.minibatches // gspo.micro_batch_rows == 4


def test_a_gpu_of_another_size_changes_no_step():
    """Rows at once, what is kept of a pass and vLLM's share: the update is the same."""
    gspo = with_values(MEDICAL_ZH_GSPO, GPU_24GB.values)
    assert gspo.gspo.rows == MEDICAL_ZH_GSPO.gspo.rows
    assert gspo.gspo.rows % (gspo.gspo.minibatches * gspo.gspo.micro_batch_rows) == 0
    sft = with_values(MEDICAL_ZH_SFT, GPU_80GB.values)
    assert sft.sft.batch_rows == MEDICAL_ZH_SFT.sft.batch_rows
    changed = {"policy.gradient_checkpointing", "sft.micro_batch_rows", "gspo.micro_batch_rows"}
    said = {
        f"{section}.{name}"
        for variant in (GPU_24GB, GPU_80GB)
        for section, values in variant.values.items()
        for name in values
    }
    assert said == changed | {"rollout.memory_share"}


def test_what_the_sft_keeps_back_is_what_the_gspo_is_measured_on():
    sft, gspo = MEDICAL_ZH_SFT.data, MEDICAL_ZH_GSPO.data
    assert sft.heldout == gspo.heldout == "sample"
    assert sft.heldout_rows >= gspo.heldout_rows
    assert (sft.train, sft.subset) == (gspo.train, gspo.subset)
    assert sft.system_prompt == gspo.system_prompt


def test_the_papers_objective_is_a_flag_away_and_can_clip():
    paper = with_preset(MEDICAL_ZH_GSPO, "paper").gspo
    assert (paper.clip_low, paper.clip_high, paper.aggregation) == (3e-4, 4e-4, "sequence")
    assert paper.minibatches == 4


WHOLE = "WHOLE" in os.environ
# The class, the template, who samples, and whether it is killed on the way.
SHORT = [("tiny-qwen3.5", "transformers", True)]
ALL = [
    ("tiny-qwen3.5", "vllm", True),
    ("tiny-qwen3.5-vl-closed", "vllm", False),
    ("tiny-qwen3.5-closed", "transformers", False),
    ("tiny-qwen3.5-vl", "transformers", True),
]


def environment() -> dict[str, str]:
    path = [str(ROOT)]
    if importlib.util.find_spec("torchvision") is None:
        path.append(str(TORCHVISION))
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def start(page: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{page}", *args],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(page: str, *args: str) -> str:
    process = start(page, *args)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def killed_after_its_first_generation(process: subprocess.Popen[str], folder: Path) -> None:
    checkpoint = folder / "checkpoints" / "generation-000001"
    while not checkpoint.is_dir():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    time.sleep(random.Random(0).uniform(0, 0.3))
    process.kill()
    process.communicate()


@pytest.mark.slow
@pytest.mark.xdist_group("vllm")
@pytest.mark.parametrize(("model", "engine", "is_killed"), ALL if WHOLE else SHORT)
def test_the_recipe_runs_to_its_end(model, engine, is_killed, tmp_path):
    out = ["--out", str(tmp_path), "--tracking.mode", "offline"]
    chosen = ["--tiny", "--policy.model", model, "--policy.dtype", "bfloat16", *out]
    finish("medical_zh_sft", *chosen)
    tuned = read_run(tmp_path / "medical-zh-sft-tiny")
    assert [row["step"] for row in tuned.metrics] == list(range(9))
    assert not tuned.summary["stopped"]

    begun = ["--policy.adapter", str(tuned.folder), "--rollout.engine", engine]
    folder = tmp_path / "medical-zh-gspo-tiny"
    process = start("medical_zh_gspo", *chosen, *begun)
    if is_killed:
        killed_after_its_first_generation(process, folder)
        said = finish("medical_zh_gspo", "--resume", str(folder))
        assert re.search("going on after generation 1|are done", said)
    else:
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output

    trained = read_run(folder)
    assert [row["generation"] for row in trained.metrics] == [1, 2]
    assert trained.config["policy"]["adapter"] == str(tuned.folder)
    assert len(list(trained.rollouts())) == 2 * 8
    assert {row["status"] for row in trained.rollouts()} <= {"ok", "unclosed", "truncated", "empty"}
    if engine == "vllm":
        assert max(row["swap/error"] for row in trained.metrics) < 0.1
