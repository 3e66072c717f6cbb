"""The kinds of run there are."""

from rl.config.evaluate import EvaluateRun
from rl.config.gspo import GSPORun
from rl.config.sft import SFTRun
from rl.config.shared import RunConfig, TrainingRun

TRAININGS: dict[str, type[TrainingRun]] = {kind.kind: kind for kind in (GSPORun, SFTRun)}
KINDS: dict[str, type[RunConfig]] = {**TRAININGS, EvaluateRun.kind: EvaluateRun}
