"""What follows from a config before anything loads."""

import dataclasses

import pytest

from judges import JudgeConfig
from rl.config.gspo import GSPOConfig, GSPORun
from rl.run.preflight import gspo_of


@pytest.mark.parametrize("grading", ["labels", "ladder"])
def test_how_the_judge_grades_says_which_differences_of_rewards_count(grading):
    whole = GSPORun(judge=JudgeConfig(grading="schema"))
    between = GSPORun(judge=JudgeConfig(grading=grading))
    assert gspo_of(whole).min_spread == 0
    assert 0.02 < gspo_of(between).min_spread < 0.5
    said = dataclasses.replace(between, gspo=GSPOConfig(min_spread=0.2))
    assert gspo_of(said).min_spread == 0.2
