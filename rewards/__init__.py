"""From a completion to a reward: split off the reasoning, gate, ask the judge, map to tiers.

Owns what a reward means. Must not know HTTP (it is handed a judge), nor training.
"""

from rewards.config import RewardConfig
from rewards.judged import JudgedReward, Sample
from rewards.split import Split, split, split_message, split_text
from rewards.tiers import Reward

__all__ = [
    "JudgedReward",
    "Reward",
    "RewardConfig",
    "Sample",
    "Split",
    "split",
    "split_message",
    "split_text",
]
