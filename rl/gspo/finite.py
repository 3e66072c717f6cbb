"""A metric that is no number ends a run before the judge is asked again."""

import math
from collections.abc import Mapping

WAY_OUT = "Lower --gspo.learning-rate, or use --policy.dtype float32"


def broken_metric(row: Mapping[str, object]) -> str | None:
    """Why a run must stop whose metrics hold a number that is none."""
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            way_out = WAY_OUT
            if "sampler" in name:
                way_out = (
                    "The sampler's log-probs are no numbers: look at its log, and try"
                    " --rollout.engine transformers"
                )
            return f"{name} is {value} in generation {row['generation']}. {way_out}"
    return None
