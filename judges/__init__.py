"""Judges: question, truth and answer in, a scored verdict or a named fault out.

Owns rubrics, prompts, backends, transport, the ledger. Must not know training, torch or what a
reward is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from judges.config import JudgeConfig
from judges.verdict import FaultCause, JudgeFault, JudgeRequest, Scored, Verdict

if TYPE_CHECKING:
    from judges.judge import Judge

__all__ = [
    "FaultCause",
    "JudgeConfig",
    "JudgeFault",
    "JudgeRequest",
    "Scored",
    "Verdict",
    "make_judge",
]


def make_judge(config: JudgeConfig) -> Judge:
    """Check everything that can be checked without a network, then hand back a judge to enter.

    Raises ValueError at once: an unknown backend or a missing key is told before a model loads.
    """
    from judges.judge import make_judge as make  # httpx and asyncio stay out of `import judges`

    return make(config)
