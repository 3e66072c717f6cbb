"""Settings that a run may not be given, each with what to type instead."""

import dataclasses
import re

import pytest

from rl.config.sft import SFTConfig, SFTRun
from rl.sft.build import check_batch, trl_arguments
from rl.sft.refusals import TRL


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"epochs": 0.0}, "sft.epochs is 0.0: it must be above 0"),
        ({"steps": 0}, "sft.steps is 0: it must be at least 1"),
        ({"max_tokens": 1}, "sft.max_tokens is 1: it must be at least 2"),
        ({"learning_rate": 0.0}, "sft.learning_rate is 0.0"),
        ({"warmup_share": 1.0}, "sft.warmup_share is 1.0: it must be from 0 to under 1"),
        ({"weight_decay": -0.1}, "sft.weight_decay is -0.1"),
        ({"decay_share": 0.1}, "Type --sft.schedule warmup_stable_decay"),
        ({"schedule": "warmup_stable_decay"}, "sft.decay_share is None"),
        (
            {"schedule": "warmup_stable_decay", "decay_share": 0.99},
            "both together at most 1, as in --sft.decay-share 0.14",
        ),
        ({"batch_rows": 10, "micro_batch_rows": 4}, "sft.micro_batch_rows 4 does not divide"),
        ({"answers": -1}, "sft.answers is -1"),
    ],
)
def test_a_value_out_of_range_is_refused_in_our_own_words(values, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        SFTConfig(**values)


def test_a_batch_that_processes_cannot_share_is_refused_with_one_that_they_can():
    check_batch(SFTConfig(batch_rows=16, micro_batch_rows=4), ranks=4)
    with pytest.raises(ValueError, match=r"on 8 processes\. Type --sft\.batch-rows 64"):
        check_batch(SFTConfig(batch_rows=16, micro_batch_rows=8), ranks=8)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learning_rate=1", "this is set by --sft.learning-rate"),
        ("packing=true", "this is set by --sft.packing"),
        ("completion_only_loss=true", "decided by position. Leave it out"),
        ("loss_type=dft", "the mean over the learnt tokens"),
        ("max_gradnorm=1", "did you mean 'max_grad_norm'"),
        ("num_generations=4", "TRL has no such setting"),
    ],
)
def test_what_trl_may_not_be_told_is_refused(override, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        SFTRun(trl=(override,)).trl_overrides()


def test_trl_may_be_told_what_has_no_name_here():
    assert SFTRun(trl=("max_grad_norm=0.2",)).trl_overrides() == {"max_grad_norm": 0.2}


def test_every_setting_that_is_said_or_refused_is_one_of_trls(tmp_path):
    import trl

    known = {field.name for field in dataclasses.fields(trl.SFTConfig)}
    said = trl_arguments(
        SFTConfig(),
        steps=10,
        ranks=1,
        output_dir=tmp_path,
        seed=0,
        save_every=1,
        dtype="float32",
        has_cuda=False,
    )
    assert set(TRL.ours) <= known
    assert said.keys() <= known
    assert trl.SFTConfig(**said).max_steps == 10
