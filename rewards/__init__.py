"""From a completion to a reward: split off the reasoning, gate, ask the judge, map to tiers.

Owns what a reward means. Must not know HTTP (it is handed a judge), nor training.
"""
