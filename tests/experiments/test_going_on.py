"""A run that begins where another ended: stopped, resumed and measured like any other."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from experiments.quickstart import QUICKSTART
from rl.policy.adapter import WEIGHTS
from rl.refusal import Refusal
from rl.run.drift import drift, made_with
from rl.run.folder import read_run
from rl.run.lifecycle import run
from rl.stages.gspo import GSPOStage
from rl.stages.heldout import HeldoutStage

pytestmark = pytest.mark.slow
MEASURED = ("time/", "judge/", "rollout/", "seconds")


def tiny(out, name, *, adapter=None, generations=1, **changes):
    """Random words end by chance alone, so they get some time to, and that is what is rewarded."""
    policy = {"model": "tiny-qwen3.5-vl-closed", "lora_targets": ("all-linear",)}
    if adapter:
        policy["adapter"] = str(adapter)
    return dataclasses.replace(
        QUICKSTART,
        out=str(out),
        name=name,
        save_every=1,
        policy=dataclasses.replace(QUICKSTART.policy, dtype="float32", **policy),
        data=dataclasses.replace(QUICKSTART.data, heldout_rows=4),
        rollout=dataclasses.replace(QUICKSTART.rollout, engine="transformers", max_new_tokens=96),
        reward=dataclasses.replace(QUICKSTART.reward, floor=-3.0),
        gspo=dataclasses.replace(
            QUICKSTART.gspo,
            generations=generations,
            prompts=4,
            group_size=8,
            minibatches=1,
            on_policy=True,
            learning_rate=1e-2,
            old_policy="trainer",
            beta=0.1,
        ),
        tracking=dataclasses.replace(QUICKSTART.tracking, mode="disabled"),
        **changes,
    )


def start(config, **how):
    assert run(GSPOStage(config), "-m experiments.quickstart", **how) == 0
    return read_run(Path(config.out) / config.name)


def answers(rows):
    return [row["completion"] for row in rows]


def figures(rows):
    return [{k: v for k, v in row.items() if not k.startswith(MEASURED)} for row in rows]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return start(tiny(tmp_path_factory.mktemp("first"), "first"))


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    out = tmp_path_factory.mktemp("second")
    return start(tiny(out, "second", adapter=first.folder, generations=2))


def test_it_begins_with_the_answers_that_the_other_ended_with(first, second):
    assert answers(first.heldout_after) != answers(first.heldout_before)
    assert answers(second.heldout_before) == answers(first.heldout_after)
    assert answers(second.heldout_after) != answers(second.heldout_before)


def test_its_kl_is_measured_from_where_it_began_not_from_the_base(first, second):
    """A generation's only step is taken before anything has moved."""
    for trained in (first, second):
        assert trained.metrics[0]["kl/ref"] == pytest.approx(0, abs=1e-9)
    assert second.metrics[1]["kl/ref"] > 1e-3


def test_resumed_it_ends_where_it_would_have_without_a_break(first, second, tmp_path):
    broken = start(tiny(tmp_path, "broken", adapter=first.folder)).folder
    folder = shutil.copytree(broken, tmp_path / "resumed")  # this process still holds its lock
    whole = tiny(tmp_path, "resumed", adapter=first.folder, generations=2)
    resumed = start(whole, resume=folder, accept_drift=True)
    assert figures(resumed.metrics) == figures(second.metrics)
    weights = f"adapter/{WEIGHTS}"
    assert (folder / weights).read_bytes() == (second.folder / weights).read_bytes()


def test_measured_again_it_has_the_same_before_and_after(first, second, tmp_path):
    config = tiny(tmp_path, "measured", adapter=first.folder)
    stage = HeldoutStage(config, adapter=second.folder / "adapter")
    assert run(stage, "-m experiments.evaluate") == 0
    measured = read_run(tmp_path / "measured")
    assert answers(measured.heldout_before) == answers(second.heldout_before)
    assert answers(measured.heldout_after) == answers(second.heldout_after)


def test_another_kind_of_adapter_is_not_measured_as_if_it_were_the_runs(first, tmp_path):
    config = tiny(tmp_path, "measured")
    narrow = dataclasses.replace(config, policy=dataclasses.replace(config.policy, lora_rank=4))
    with pytest.raises(Refusal, match=r"policy\.lora_rank is 4"):
        HeldoutStage(narrow, adapter=first.folder / "adapter").check()


def test_its_checkpoint_is_a_start_too_and_says_what_it_belongs_to(second, tmp_path):
    (checkpoint, *_) = sorted((second.folder / "checkpoints").glob("generation-*"))
    base = json.loads((checkpoint / "base.json").read_text())
    assert base["adapter"] == second.config["policy"]["adapter"]
    GSPOStage(tiny(tmp_path, "third", adapter=checkpoint)).check()


def test_what_learns_is_in_the_summary(second):
    assert second.summary["parameters_trained"] == 56_928
    assert second.summary["parameters"] == 401_228 + 56_928


def test_a_start_that_changed_since_is_drift(first, tmp_path):
    adapter = shutil.copytree(first.folder / "adapter", tmp_path / "adapter")
    config = tiny(tmp_path, "second", adapter=adapter)
    before = made_with(config)
    weights = bytearray((adapter / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (adapter / WEIGHTS).write_bytes(weights)
    (change,) = drift(before, made_with(config))
    assert change.startswith("policy.adapter (content): ")
