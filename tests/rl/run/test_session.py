"""What a generation says of its judge."""

from dataclasses import replace

from judges.stats import Tally
from rl.stages.session import judge_metrics


def test_a_row_says_what_troubled_the_judge_and_whether_a_panel_was_of_one_mind():
    before = Tally().snapshot([])
    now = replace(
        before, troubles={"timeout": 3, "reset": 1}, disagreements=2, limit=12, breaker_open=True
    )
    row = judge_metrics(before, now)
    assert row["judge/troubles"] == 4
    assert row["judge/disagreements"] == 2
    assert (row["judge/limit"], row["judge/breaker_open"]) == (12, 1)
