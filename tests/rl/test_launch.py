"""The command line, as a person meets it. `UPDATE_GOLDEN=1` rewrites the golden files."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
TOOLS = ("chat", "convert", "curate", "export", "papers", "serve", "triage_data")
"""Commands around a training, not one themselves."""
EXPERIMENTS = sorted(
    path.stem
    for path in (ROOT / "experiments").glob("*.py")
    if path.stem not in ("__init__", "evaluate", *TOOLS)
)
OF_OTHERS = ("triage_sft", "neuro_cpt", "qlora_1b", "medslm_sft")
FROM_THE_HUB = {"medical_zh_sft", "medical_zh_gspo", *OF_OTHERS}
"""What they are without --tiny is held by test_medical_zh.py and test_recipes.py."""


def offline(experiment: str) -> list[str]:
    return ["--tiny"] if experiment in FROM_THE_HUB else []


def launch(experiment: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{experiment}", *args],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "100", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def hold_to_golden(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), f"{name} changed; if meant: UPDATE_GOLDEN=1 make test"


@pytest.mark.parametrize("experiment", [*EXPERIMENTS, *TOOLS])
def test_every_flag_of_an_experiment_is_as_it_was(experiment):
    hold_to_golden(f"{experiment}.help.txt", launch(experiment, "--help").stdout)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_resolved_value_of_an_experiment_is_as_it_was(experiment):
    said = launch(experiment, "--dry-run", *offline(experiment)).stdout
    hold_to_golden(f"{experiment}.config.json", said)


@pytest.mark.parametrize(
    ("experiment", "flag"),
    [
        *itertools.product(EXPERIMENTS, ["--help", "--dry-run"]),
        *((name, "--help") for name in TOOLS),
    ],
)
def test_reading_a_command_line_loads_nothing_heavy(experiment, flag):
    program = (
        "import sys, runpy\n"
        "before = set(sys.modules)\n"
        f"sys.argv = {[experiment, flag, *offline(experiment)]}\n"
        f"try: runpy.run_module('experiments.{experiment}', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*loaded - sys.stdlib_module_names)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    ours = {"__mp_main__", "experiments", "judges", "rewards", "rl"}
    parser = {"tyro", "docstring_parser", "typeguard", "typing_extensions"}
    assert "tyro" in loaded
    assert {name for name in loaded - ours - parser if not name.startswith("_")} == set()


def test_overrides_reach_the_resolved_config():
    args = "--judge.backend rules --gspo.learning-rate 2e-4 --trl max_grad_norm=0.2 --trl seed2=1"
    done = launch("quickstart", *args.split()[:-2], "--dry-run")
    config = json.loads(done.stdout)
    assert config["gspo"]["learning_rate"] == 2e-4
    assert config["judge"]["backend"] == "rules"
    assert config["trl"] == ["max_grad_norm=0.2"]


def test_a_run_can_be_started_again_from_its_config_and_changed(tmp_path):
    first = launch("quickstart", "--seed", "5", "--gspo.generations", "9", "--dry-run")
    (tmp_path / "config.json").write_text(first.stdout)
    again = launch("quickstart", "--from", str(tmp_path), "--gspo.generations", "11", "--dry-run")
    config = json.loads(again.stdout)
    assert (config["seed"], config["gspo"]["generations"]) == (5, 11)


def test_a_dry_run_says_what_the_run_would_take():
    said = launch("quickstart", "--gspo.generations", "2", "--data.heldout-rows", "4", "--dry-run")
    assert "228 questions to train on, 4 held out" in said.stderr
    assert "about 72 calls" in said.stderr  # 2 generations of 4 groups of 8, 4 questions twice


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--judge.backend", "deepsek"], "deepseek"),
        (["--judge.rubric", "nope"], "no such rubric"),
        (["--judge.panel", "foo"], "foo"),
        (["--data.train", "nope.jsonl"], "no such file"),
        (["--gspo.prompts", "300"], "the data has only 228 prompts"),
        (["--data.heldout", "nope.jsonl"], "no such file"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would_refuse_before_it_loads_anything(args, said):
    done = launch("quickstart", *args, "--dry-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_a_dry_run_says_that_the_run_would_stop_for_want_of_a_key(monkeypatch):
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    done = launch("quickstart", "--judge.backend", "deepseek", "--dry-run")
    assert done.returncode == 0
    assert "the run would stop at once: DEEPSEEK_API_KEY is not set" in done.stderr


def test_a_dry_run_knows_on_how_many_processes_it_would_run(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert "each of 4 processes. Type --gspo" in launch("quickstart", "--dry-run").stderr


def test_an_experiment_of_ones_own_is_started_again_as_it_was_started(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("from rl.launch import _as_started\nprint(_as_started())\n")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    by = [[str(mine)], ["-m", "mine"]]
    for args in by:
        done = subprocess.run(
            [sys.executable, *args], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.stdout.split() == args


def test_a_preset_is_written_over_the_experiment_and_flags_over_the_preset():
    done = launch("quickstart", "--preset", "seed", "--gspo.group-size", "8", "--dry-run")
    gspo = json.loads(done.stdout)["gspo"]
    assert (gspo["aggregation"], gspo["prompts"], gspo["group_size"]) == ("dr_grpo", 2, 8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--gspo.learnin-rate", "1"], "--gspo.learning-rate"),
        (["--gspo.learning-rate", "-1"], "gspo.learning_rate is -1.0: it must be above 0"),
        (["--trl", "max_gradnorm=1"], "did you mean 'max_grad_norm'"),
        (["--trl", "max_grad_norm"], "write name=value"),
        (["--trl", "learning_rate=1"], "this is set by --gspo.learning-rate"),
        (["--trl", "loss_type=dapo"], "--gspo.aggregation"),
        (["--data.train", "medical_em"], "did you mean 'medical_en'"),
        (["--data.train", "nowhere.jsonl"], "no such file"),
        (["--judge.backend", "deepsek"], "deepseek"),
        (["--judge.backend", "deepseek"], "DEEPSEEK_API_KEY"),
        (["--from", "nowhere"], "--from nowhere: no such file"),
        (["--resume", "tests/golden"], "--resume tests/golden: no such file"),
        (["--preset", "papr"], "did you mean 'paper'"),
        (["--policy.model", "./nowhere"], "no config.json in that folder"),
    ],
)
def test_bad_input_gets_one_clear_sentence_and_leaves_nothing(args, said, tmp_path):
    done = launch("quickstart", *args, "--out", str(tmp_path / "runs"))
    assert done.returncode != 0
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_another_backend_keeps_no_model_url_or_key_of_the_run_it_starts_from(tmp_path):
    said = ["--judge.backend", "vllm", "--judge.model", "qwen", "--judge.key-env", "MINE"]
    said += ["--judge.url", "http://127.0.0.1:9999/v1", "--judge.usd-per-m-in", "3", "--dry-run"]
    (tmp_path / "config.json").write_text(launch("quickstart", *said).stdout)

    start = ("--from", str(tmp_path), "--dry-run")
    kept = json.loads(launch("quickstart", *start).stdout)["judge"]
    assert (kept["backend"], kept["model"], kept["usd_per_m_in"]) == ("vllm", "qwen", 3.0)
    swap = launch("quickstart", *start, "--judge.backend", "openai")
    judge = json.loads(swap.stdout)["judge"]
    own = ("model", "url", "key_env", "usd_per_m_in")
    assert [judge[name] for name in own] == [None] * 4


def test_a_key_in_a_url_is_not_written_down():
    url = "http://127.0.0.1:9/v1?api_key=URLSECRET"
    args = ["--judge.backend", "custom", "--judge.model", "m", "--judge.url", url, "--dry-run"]
    assert json.loads(launch("quickstart", *args).stdout)["judge"]["url"].endswith("?api_key=***")
