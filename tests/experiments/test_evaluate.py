"""What a run trained against what it began with, by the command that a person types."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.quickstart import QUICKSTART
from rl.refusal import Refusal
from rl.run.folder import read_run
from rl.run.lifecycle import run
from rl.stages.gspo import GSPOStage
from rl.stages.heldout import HeldoutStage

ROOT = Path(__file__).parents[2]


def small(out, name):
    return dataclasses.replace(
        QUICKSTART,
        out=str(out),
        name=name,
        save_every=0,
        data=dataclasses.replace(QUICKSTART.data, heldout_rows=4),
        rollout=dataclasses.replace(QUICKSTART.rollout, engine="transformers", max_new_tokens=8),
        gspo=dataclasses.replace(
            QUICKSTART.gspo, generations=1, prompts=2, group_size=4, micro_batch_rows=4
        ),
        tracking=dataclasses.replace(QUICKSTART.tracking, mode="disabled"),
    )


@pytest.mark.slow
def test_evaluating_a_run_finds_the_answers_that_its_training_ended_with(tmp_path):
    assert run(GSPOStage(small(tmp_path, "trained")), "-m experiments.quickstart") == 0
    trained = read_run(tmp_path / "trained")
    done = subprocess.run(
        [sys.executable, "-m", "experiments.evaluate", str(trained.folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"experiments.evaluate {trained.folder} --from" in done.stdout
    measured = read_run(tmp_path / "trained-heldout")
    for then, now in (
        (trained.heldout_before, measured.heldout_before),
        (trained.heldout_after, measured.heldout_after),
    ):
        assert len(now) == 4
        assert [row["completion"] for row in now] == [row["completion"] for row in then]
        assert [row["reward"] for row in now] == [row["reward"] for row in then]
    assert measured.summary["heldout_after"] == trained.summary["heldout_after"]


def test_a_folder_that_holds_no_adapter_is_refused(tmp_path):
    stage = HeldoutStage(small(tmp_path, "x"), adapter=tmp_path / "adapter")
    with pytest.raises(Refusal, match="no adapter there"):
        run(stage, "-m experiments.evaluate")


def test_a_run_must_be_named():
    for args in ([], ["--seed", "1"], ["nowhere"]):
        done = subprocess.run(
            [sys.executable, "-m", "experiments.evaluate", *args],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "folder" in done.stderr
        assert "Traceback" not in done.stderr
