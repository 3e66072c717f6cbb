"""A run that is killed outright, again and again, goes on as if nothing had been.

`KILLS=20 make test ARGS=tests/experiments/test_resume.py` has more time for it than the suite.
"""

import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl.run.folder import read_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "2"))
GENERATIONS = 4
SMALL = (
    f"--gspo.generations {GENERATIONS} --gspo.prompts 2 --gspo.group-size 4 --gspo.minibatches 2 "
    "--gspo.micro-batch-rows 4 --data.heldout-rows 2 --rollout.max-new-tokens 8 --save-every 1 "
    "--rollout.engine transformers --policy.dtype float32 --tracking.mode offline"
).split()
MEASURED = ("time/", "judge/", "rollout/", "seconds")


@pytest.fixture(scope="module")
def judge():
    """The rule judge as a server that is paid, so that what it is asked is written down."""
    serving = [sys.executable, "-m", "judges", "serve", "--port", "0"]
    known = ["--known", str(ROOT / "experiments" / "data" / "medical_en.jsonl")]
    with subprocess.Popen([*serving, *known], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        ready = server.stdout.readline()
        (url,) = re.findall(r"http://\S+", ready)
        price = "--judge.usd-per-m-in 1 --judge.usd-per-m-out 1".split()
        yield ["--judge.backend", "custom", "--judge.model", "rules", "--judge.url", url, *price]
        server.terminate()


def start(*args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.quickstart", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*args: str) -> str:
    process = start(*args)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    while not file.is_file():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def record(folder: Path) -> tuple[list[dict], list[dict]]:
    """Metrics and completions, without what depends on the clock."""
    run = read_run(folder)
    metrics = [
        {name: value for name, value in row.items() if not name.startswith(MEASURED)}
        for row in run.metrics
    ]
    rollouts = [
        {name: value for name, value in row.items() if name != "judge_latency_s"}
        for row in run.rollouts()
    ]
    return metrics, rollouts


def answers_paid_for(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "judge.sqlite") as ledger:
        return [key for (key,) in ledger.execute("SELECT key FROM events WHERE kind = 'scored'")]


@pytest.fixture(scope="module")
def whole(judge, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    began_s = time.monotonic()
    finish(*SMALL, *judge, "--out", str(out))
    return out / "quickstart", time.monotonic() - began_s


def test_a_run_killed_at_any_moment_ends_where_one_that_was_left_alone_ends(judge, whole, tmp_path):
    expected, took_s = whole
    folder = tmp_path / "quickstart"
    draw = random.Random(KILLS)
    process = start(*SMALL, *judge, "--out", str(tmp_path))
    wait_for(folder / "made_with.json", process)
    for _ in range(KILLS):
        time.sleep(draw.uniform(0, took_s))
        process.kill()
        process.communicate()
        process = start("--resume", str(folder))
    output, _ = process.communicate(timeout=600)
    if "all its" in output:  # the last kill came too late to interrupt anything
        assert "generations are done" in output
    else:
        assert process.returncode == 0, output

    weights = "adapter/adapter_model.safetensors"
    assert (folder / weights).read_bytes() == (expected / weights).read_bytes()
    assert record(folder) == record(expected)
    assert [row["generation"] for row in read_run(folder).metrics] == [1, 2, 3, 4]
    seconds = [row["seconds"] for row in read_run(folder).metrics]
    assert seconds == sorted(seconds)
    w_and_b = (folder / "wandb_id.txt").read_text().strip()
    runs = list((folder / "wandb").glob("offline-run-*"))
    assert runs
    assert all(run.name.endswith(w_and_b) for run in runs)
    paid = answers_paid_for(folder)
    assert len(paid) == len(set(paid)) > 0
    assert not list((folder / "checkpoints").glob("unfinished*"))
