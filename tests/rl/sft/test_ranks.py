"""Two gloo processes take the steps that one takes, and measure the same."""

import pytest
import torch

from tests.rl.on_ranks import seen_by_one_and_two

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ranks")]


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    return seen_by_one_and_two("sft", tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("way", ["rows", "packs"])
def test_two_ranks_learn_what_one_learns(one_and_two, way):
    one, two = (seen[way] for seen in one_and_two)
    assert len(one["gradients"]) == len(two["gradients"]) == 3
    assert one["gradients"][0].norm() > 1e-2
    for ours, theirs in zip(two["gradients"], one["gradients"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(two["weights"], one["weights"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", ["rows", "packs"])
def test_two_ranks_report_what_one_reports(one_and_two, way):
    one, two = (seen[way]["rows"] for seen in one_and_two)
    for ours, theirs in zip(two, one, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"tokens_per_s"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-5), name
