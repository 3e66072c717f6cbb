"""Packing where rows are kept apart, and a refusal where they are not."""

import pytest

from rl.refusal import Refusal
from rl.sft.packing import refuse_leaking, seen_of_another_row


def test_a_row_of_a_llama_sees_nothing_of_the_row_before_it(helpers):
    assert seen_of_another_row(helpers.tiny_policy().model) < 1e-6


def test_a_row_of_a_qwen35_without_its_kernels_sees_the_row_before_it_and_is_refused(helpers):
    model = helpers.tiny_policy(helpers.tiny_qwen35).model
    assert seen_of_another_row(model) > 1e-3
    with pytest.raises(Refusal, match=r"sft.packing with policy.model tiny: .*--sft.no-packing"):
        refuse_leaking(model, model_name="tiny")


def test_a_trainer_that_would_leak_is_not_built(built, helpers):
    with pytest.raises(Refusal, match="would leak"):
        built(
            helpers.settings(packing=True, batch_rows=1, micro_batch_rows=1),
            policy=helpers.tiny_policy(helpers.tiny_qwen35),
        )
