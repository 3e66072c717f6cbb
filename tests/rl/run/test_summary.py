"""What a run came to."""

import random
from statistics import fmean, stdev

import pytest

from rl.run.folder import read_run
from rl.run.summary import change_interval, mean_reward, summarise, tier_shares


def test_training_rewards_are_means_of_the_first_and_last_five_generations():
    rows = [{"generation": n, "reward/mean": float(n), "judge/faults": 1} for n in range(1, 13)]
    del rows[0]["reward/mean"]  # every verdict of that generation failed
    summary = summarise(rows)
    assert summary["reward_first"] == pytest.approx((2 + 3 + 4 + 5 + 6) / 5)
    assert summary["reward_last"] == 10.0
    assert summary["reward_window"] == 5
    assert summary["judge_faults"] == 12


@pytest.mark.parametrize(("generations", "window"), [(2, 1), (3, 1), (9, 4), (10, 5)])
def test_in_a_short_run_no_generation_is_both_first_and_last(generations, window):
    summary = summarise([{"reward/mean": float(n)} for n in range(generations)])
    assert summary["reward_window"] == window
    assert summary["reward_last"] - summary["reward_first"] == generations - window


def test_a_single_generation_has_not_changed():
    assert "reward_first" not in summarise([{"reward/mean": 1.0}])


def test_a_judge_fault_does_not_vote():
    rows = [{"reward": 2.0, "tier": "same"}, {"reward": None, "tier": "fault"}]
    assert mean_reward(rows) == 2.0
    assert mean_reward(rows[1:]) is None
    assert tier_shares(rows) == {"same": 0.5, "fault": 0.5}


def test_losses_are_told_from_before_to_after_and_answers_by_how_they_were_given():
    rows = [{"step": 0, "heldout/loss": 3.0}]
    rows += [{"step": n, "loss": float(10 - n)} for n in range(1, 5)]
    rows[-1]["heldout/loss"] = 2.0
    answers = [
        {"id": "a", "how": "greedy", "ended": True, "in_format": True},
        {"id": "b", "how": "greedy", "ended": False, "in_format": False},
        {"id": "a", "how": "sampled", "ended": True},
    ]
    summary = summarise(rows, answers[:2], answers)
    assert (summary["heldout_loss_before"], summary["heldout_loss_after"]) == (3.0, 2.0)
    assert (summary["loss_first"], summary["loss_last"]) == (8.5, 6.5)
    assert summary["answers_before"] == {"ended_greedy": 0.5, "in_format_greedy": 0.5}
    assert summary["answers_after"] == {**summary["answers_before"], "ended_sampled": 1.0}


def test_a_run_without_rows_has_no_figures():
    assert summarise([]) == {}


def test_the_interval_of_the_change_pairs_answers_by_question():
    before = [{"id": str(n), "reward": float(n % 3)} for n in range(60)]
    after = [{"id": str(n), "reward": float(n % 3) + 1.0} for n in reversed(range(60))]
    assert change_interval(before, after) == [1.0, 1.0]
    after[0]["reward"] = None
    assert change_interval(before, after) == [1.0, 1.0]
    assert change_interval(before, after[:2]) is None


def test_the_interval_holds_the_change_and_narrows_with_more_questions():
    def interval(count: int) -> list[float]:
        before = [{"id": str(n), "reward": 0.0} for n in range(count)]
        after = [{"id": str(n), "reward": 2.0 if n % 2 else -1.0} for n in range(count)]
        found = change_interval(before, after)
        assert found is not None
        return found

    low, high = interval(40)
    assert low < 0.5 < high
    assert interval(400)[1] - interval(400)[0] < high - low


def test_the_interval_is_that_of_the_normal_law_where_there_are_many_questions():
    draw = random.Random(3)
    before = [{"id": str(n), "reward": 0.0} for n in range(1000)]
    after = [{"id": str(n), "reward": draw.gauss(0.4, 1.0)} for n in range(1000)]
    rewards = [row["reward"] for row in after]
    reach = 1.96 * stdev(rewards) / 1000**0.5
    expected = [fmean(rewards) - reach, fmean(rewards) + reach]
    assert change_interval(before, after) == pytest.approx(expected, abs=0.1 * reach)


def test_the_interval_is_the_same_again_and_in_any_order_of_the_questions():
    before = [{"id": str(n), "reward": float(n % 5)} for n in range(60)]
    after = [{"id": str(n), "reward": float(n % 3)} for n in range(60)]
    found = change_interval(before, after)
    assert change_interval(before, after) == found
    assert change_interval(before[::-1], after[30:] + after[:30]) == found


def test_the_summary_on_disk_is_the_summary_of_the_rows(recorded_run):
    run = read_run(recorded_run)
    assert run.summary == summarise(run.metrics, run.heldout_before, run.heldout_after)
    assert {
        *("reward_first", "reward_last", "heldout_before", "heldout_after"),
        *("steps", "seconds", "judge_faults"),
    } <= run.summary.keys()
