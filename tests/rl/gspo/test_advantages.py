"""A row without a reward never votes."""

import pytest
import torch

from rl.gspo.advantages import group_advantages

NAN = float("nan")


def test_advantages_centre_each_group_and_divide_by_its_deviation():
    rewards = torch.tensor([[2.0, 0.5, -1.0, 0.5], [0.0, 0.0, 2.0, 2.0]])
    advantages, live, zero_spread, _ = group_advantages(rewards)
    wanted = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(advantages, wanted)
    assert live.all()
    assert not zero_spread.any()


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_missing_verdicts_leave_exactly_the_smaller_groups(scale):
    generator = torch.Generator().manual_seed(11)
    for _ in range(50):
        rewards = torch.randn(6, 10, generator=generator)
        gone = torch.stack([torch.randperm(10, generator=generator)[:2] for _ in range(6)])
        holed = rewards.scatter(1, gone, NAN)
        small = holed[~holed.isnan()].view(6, 8)
        advantages, live, *_ = group_advantages(holed, scale=scale)
        assert torch.equal(advantages[live].view(6, 8), group_advantages(small, scale=scale)[0])
        assert torch.equal(live, ~holed.isnan())
        assert not advantages[~live].any()


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_group_without_any_verdict_is_dead_and_touches_no_other(scale):
    rewards = torch.tensor([[1.0, 2.0, 0.0], [NAN, NAN, NAN], [0.5, 0.0, -1.0]])
    advantages, live, *_ = group_advantages(rewards, scale=scale)
    assert live.tolist() == [[True] * 3, [False] * 3, [True] * 3]
    assert not advantages[1].any()
    assert torch.equal(advantages[[0, 2]], group_advantages(rewards[[0, 2]], scale=scale)[0])


def test_a_group_below_the_quorum_is_dead_whole():
    rewards = torch.tensor([[1.0, 3.0, NAN, NAN], [1.0, 3.0, 2.0, NAN]])
    advantages, live, *_ = group_advantages(rewards, quorum=3)
    assert live.tolist() == [[False] * 4, [True, True, True, False]]
    assert not advantages[0].any()


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize(
    "rewards",
    [
        [[NAN]],
        [[1.0]],
        [[float("inf"), 1.0, 2.0]],
        [[-float("inf"), NAN]],
        [[NAN, NAN], [NAN, NAN]],
    ],
)
@pytest.mark.parametrize("quorum", [1, 2])
def test_no_reward_can_make_an_advantage_that_is_not_finite(rewards, scale, quorum):
    advantages, live, *_ = group_advantages(torch.tensor(rewards), scale=scale, quorum=quorum)
    assert advantages.isfinite().all()
    assert not live[~torch.tensor(rewards).isfinite()].any()


def test_a_group_that_agrees_has_advantages_of_exactly_zero_and_says_so():
    rewards = torch.tensor([[0.1] * 3, [0.1, 0.1, NAN], [0.1, 0.2, 0.1]], dtype=torch.float64)
    advantages, live, zero_spread, _ = group_advantages(rewards)
    assert zero_spread.tolist() == [True, True, False]
    assert not advantages[:2].any()
    assert live.sum() == 8


def test_a_scale_nobody_knows_and_a_quorum_of_none_are_refused():
    with pytest.raises(ValueError, match="scale='std'"):
        group_advantages(torch.zeros(1, 2), scale="std")
    with pytest.raises(ValueError, match="quorum=0"):
        group_advantages(torch.zeros(1, 2), quorum=0)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_differences_smaller_than_the_reading_are_no_opinion(scale):
    rewards = torch.tensor([[1.97, 1.98, 1.98, 1.99], [1.0, 1.04, 2.0, NAN], [0.5] * 4])
    advantages, live, zero_spread, below_spread = group_advantages(
        rewards, scale=scale, min_spread=0.05
    )
    assert zero_spread.tolist() == [True, False, True]
    assert below_spread.tolist() == [True, False, False]
    assert not advantages[0].any()
    assert advantages[1].any()
    assert live[0].all()


def test_by_default_any_difference_counts():
    scored = group_advantages(torch.tensor([[1.97, 1.98, 1.98, 1.99]]))
    assert not scored.zero_spread_G.any()
    assert scored.advantages_GK.abs().max() > 1


def test_a_spread_of_just_the_minimum_is_an_opinion():
    scored = group_advantages(torch.tensor([[0.0, 0.5]]), min_spread=0.5)
    assert scored.advantages_GK.any()
    assert not scored.below_spread_G.any()
