"""What a run is: frozen settings, checked in our own words, before anything heavy is imported.

Owns the settings of every kind of run. A section's numbers are what runs: presets are written over
them, nothing is filled in later.
"""

from rl.config.saved import load, to_json, with_preset, with_values
from rl.config.shared import (
    ATTENTION_AND_MLP,
    DataConfig,
    PolicyConfig,
    RunConfig,
    TrackingConfig,
    TrainingRun,
)

__all__ = [
    "ATTENTION_AND_MLP",
    "DataConfig",
    "PolicyConfig",
    "RunConfig",
    "TrackingConfig",
    "TrainingRun",
    "load",
    "to_json",
    "with_preset",
    "with_values",
]
