"""Is a run's policy better than the one it began with, on questions it was never trained on?

Settings are those of the run; flags change them. What comes of it is a run folder of its own.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl.config import load
from rl.config.gspo import GSPORun
from rl.launch import main


def evaluate(run: Path, args: list[str]) -> None:
    def stage(config: GSPORun) -> Any:
        from rl.stages.heldout import HeldoutStage

        return HeldoutStage(config, adapter=run / "adapter")

    try:
        config = replace(load(run, GSPORun), name=f"{run.name}-heldout")
    except ValueError as error:
        sys.exit(f"evaluate: {error}")
    doc = __doc__ or ""
    main(config, prog="evaluate RUN", description=doc, stage=stage, args=args, subject=str(run))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit("Name a run's folder: python -m experiments.evaluate runs/NAME [flags; --help]")
    evaluate(Path(sys.argv[1]), sys.argv[2:])
