"""Checkpoints of a run that counts in steps: named by it, the last two and the best kept."""

import pytest

from rl.run.checkpoint import Checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path, "step")


def seal(checkpoints, done, score):
    written = checkpoints.unfinished / f"checkpoint-{done}"
    written.mkdir(parents=True)
    (written / "weights").write_text(str(done))
    checkpoints.seal(written, {"done": done, "score": score})


def test_the_last_two_and_the_best_are_kept(checkpoints):
    for done, score in ((1, -3.0), (2, -1.0), (3, -2.0), (4, None), (5, -1.5), (6, None)):
        seal(checkpoints, done, score)
    names = sorted(folder.name for folder in checkpoints.root.iterdir())
    assert names == ["step-000002", "step-000005", "step-000006"]
    best = checkpoints.best()
    assert (best.done, (best.folder / "weights").read_text()) == (2, "2")


def test_without_a_measurement_none_is_the_best(checkpoints):
    seal(checkpoints, 1, None)
    assert checkpoints.best() is None


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(checkpoints):
    for done in (1, 2):
        seal(checkpoints, done, None)
    (checkpoints.root / "step-000002" / "weights").write_text("torn")
    told = []
    assert checkpoints.latest(told.append).done == 1
    assert "weights changed since it was written" in told[0]
