"""Is B better than A, by how much, how surely, and on what?

    python -m experiments.evaluate smollm2-135m runs/NAME --tasks ...

Every column is held against the first, paired by item. A run alone is held against what it began
with; without --tasks that is by its own held-out questions and judge, with its settings as flags.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl.config import load
from rl.config.evaluate import EvaluateRun
from rl.config.gspo import GSPORun
from rl.launch import main

EVALUATE = EvaluateRun(name="evaluate")


def ask_heldout(run: Path, args: Sequence[str]) -> None:
    """The held-out questions of a run, before against after."""

    def stage(config: GSPORun) -> Any:
        from rl.stages.heldout import HeldoutStage

        return HeldoutStage(config, adapter=run / "adapter")

    try:
        config = replace(load(run, GSPORun), name=f"{run.name}-heldout")
    except ValueError as error:
        sys.exit(f"evaluate: {error}")
    main(config, prog="evaluate RUN", description=__doc__, stage=stage, args=args, subject=str(run))


def is_a_run_alone(args: Sequence[str]) -> bool:
    if not args or args[0].startswith("-") or any(arg.startswith("--tasks") for arg in args):
        return False
    return len(args) == 1 or args[1].startswith("-")


if __name__ == "__main__":
    if is_a_run_alone(sys.argv[1:]):
        ask_heldout(Path(sys.argv[1]), sys.argv[2:])
    else:
        main(EVALUATE, prog="evaluate", description=__doc__)
