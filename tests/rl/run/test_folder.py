"""Run folders: written while a run goes on, read back whatever happened to it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rl.refusal import Refusal
from rl.run.folder import RunLog, column, newest_run, read_run


def test_what_is_written_is_read_back(tmp_path: Path):
    log = RunLog.create(tmp_path, "run")
    log.config({"gspo": {"learning_rate": 2e-4}, "out": tmp_path})
    log.metrics({"generation": 1, "reward/mean": 0.5})
    log.metrics({"generation": 2, "reward/mean": 0.7})
    log.rollouts([{"id": "zh-1", "answer": "二甲双胍\n\u2028", "reward": None}])
    log.heldout("before", [{"id": "a", "reward": 0.5}])
    log.heldout("after", [{"id": "a", "reward": 2.0}])
    log.summary({"heldout_after": 2.0})
    run = read_run(log.folder)
    assert run.config == {"gspo": {"learning_rate": 2e-4}, "out": str(tmp_path)}
    assert column(run.metrics, "reward/mean") == [0.5, 0.7]
    assert list(run.rollouts()) == [{"id": "zh-1", "answer": "二甲双胍\n\u2028", "reward": None}]
    assert (run.heldout_before, run.heldout_after) == (
        [{"id": "a", "reward": 0.5}],
        [{"id": "a", "reward": 2.0}],
    )
    assert run.summary == {"heldout_after": 2.0}
    assert not list(log.folder.glob("*.part"))


def test_a_taken_name_is_numbered_and_nothing_is_overwritten(tmp_path: Path):
    folders = [RunLog.create(tmp_path, "run").folder.name for _ in range(3)]
    assert folders == ["run", "run-2", "run-3"]


def test_what_was_not_measured_is_absent_and_numbers_are_plain(tmp_path: Path):
    log = RunLog(tmp_path)
    log.metrics(
        {
            "generation": 1,
            "kl/ref": math.nan,
            "kl/old": None,
            "grad_norm": math.inf,
            "ess": np.float32(0.5),
            "entropy": torch.tensor(2.0),
            "clip/seq": 0,
        }
    )
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text) == {"generation": 1, "ess": 0.5, "entropy": 2.0, "clip/seq": 0}
    assert math.isnan(column(read_run(tmp_path).metrics, "kl/ref")[0])


def test_a_torn_last_line_is_left_out_and_the_next_row_stands_alone(tmp_path: Path):
    RunLog(tmp_path).metrics({"generation": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"generation": 2, "rew')
    assert read_run(tmp_path).metrics == [{"generation": 1}]
    RunLog(tmp_path).metrics({"generation": 2})
    assert read_run(tmp_path).metrics == [{"generation": 1}, {"generation": 2}]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"generation": 1}\n{"gen\n{"generation": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl line 2 is not JSON"):
        read_run(tmp_path)


def test_a_full_disk_is_one_sentence_that_names_the_folder(tmp_path: Path):
    log = RunLog(tmp_path)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(ValueError, match="cannot be written to: No space left on device") as told:
        log.metrics({"generation": 1})
    assert str(tmp_path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match="cannot be created: Not a directory"):
        RunLog.create(tmp_path / "runs", "run")


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path):
    log = RunLog(tmp_path)
    log.config({})
    log.summary({"steps": 1})
    (tmp_path / "summary.json.part").symlink_to("/dev/full")
    with pytest.raises(ValueError, match="No space left"):
        log.summary({"steps": 2})
    assert read_run(tmp_path).summary == {"steps": 1}


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="is not a run folder"):
        read_run(tmp_path)


def test_the_newest_run_is_the_one_written_last(tmp_path: Path):
    with pytest.raises(ValueError, match="There is no run under"):
        newest_run(tmp_path)
    first, second = RunLog.create(tmp_path, "run"), RunLog.create(tmp_path, "run")
    second.config({})
    first.config({})
    first.metrics({"generation": 1})
    assert newest_run(tmp_path) == first.folder


def test_a_folder_has_one_writer_until_that_one_is_done(tmp_path):
    one, other = RunLog(tmp_path / "run"), RunLog(tmp_path / "run")
    with one.locked(), pytest.raises(Refusal, match="that run still goes on"), other.locked():
        pass
    with other.locked():
        pass
