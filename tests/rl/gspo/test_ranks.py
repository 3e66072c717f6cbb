"""Two gloo processes take the step that one takes, and say the same about it."""

import math

import pytest
import torch

from tests.rl.on_ranks import seen_by_one_and_two

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ranks")]


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    return seen_by_one_and_two("gspo", tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("scenario", ["usual", "second rank has nothing to learn"])
def test_two_ranks_have_the_gradient_of_one(one_and_two, scenario):
    one, two = (seen[scenario]["gradients"] for seen in one_and_two)
    assert len(one) == len(two) == 2
    assert one[0].norm() > 1e-3
    torch.testing.assert_close(two[0], one[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "scenario", ["usual", "second rank has nothing to learn", "nobody was judged"]
)
def test_two_ranks_report_the_metrics_of_one(one_and_two, scenario):
    one, two = (seen[scenario]["rows"][0] for seen in one_and_two)
    assert one.keys() == two.keys() or {*one} ^ {*two} <= {"kl/ref"}
    # The reference is probed on rows of each rank's own choice; a policy at its start has none.
    for name in one.keys() - {"time/update_s", "kl/ref", "ratio/histogram"}:
        assert two[name] == pytest.approx(one[name], rel=2e-3, abs=1e-5), name
    assert one_and_two[0][scenario]["advantages"] == one_and_two[1][scenario]["advantages"]


@pytest.mark.parametrize("scenario", ["nobody has anything to learn", "nobody was judged"])
def test_ranks_without_a_signal_neither_move_nor_hang(one_and_two, scenario):
    for seen in one_and_two:
        assert seen[scenario]["gradients"] == [None, None]
        assert seen[scenario]["rows"][0]["grad_norm"] == 0
        assert math.isfinite(seen[scenario]["rows"][0]["time/update_s"])


def test_what_breaks_in_one_rank_is_refused_in_all(one_and_two):
    for seen in one_and_two:
        broken = seen["the last rank's weights are broken"]
        assert broken["gradients"] == [None]
        assert "the loss of optimizer step 1 is not finite" in broken["rows"][0]["stop_reason"]
