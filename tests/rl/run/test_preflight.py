"""What follows from a config before anything loads."""

import dataclasses

from judges import JudgeConfig
from rl.config.gspo import GSPOConfig, GSPORun
from rl.run.preflight import gspo_of


def test_how_the_judge_grades_says_which_differences_of_rewards_count():
    whole = GSPORun(judge=JudgeConfig(grading="schema"))
    between = GSPORun(judge=JudgeConfig(grading="labels"))
    assert gspo_of(whole).min_spread == 0
    assert 0.02 < gspo_of(between).min_spread < 0.5
    said = dataclasses.replace(between, gspo=GSPOConfig(min_spread=0.2))
    assert gspo_of(said).min_spread == 0.2
