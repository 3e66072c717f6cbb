"""The kinds of run there are."""

from rl.config.evaluate import EvaluateRun
from rl.config.gspo import GSPORun
from rl.config.sft import SFTRun
from rl.config.shared import RunConfig

KINDS: dict[str, type[RunConfig]] = {kind.kind: kind for kind in (GSPORun, SFTRun, EvaluateRun)}
