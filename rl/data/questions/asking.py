"""Requests asked of a model to their end: what came to no answer is asked again, and counted."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from judges.client.ledger import Ledger
from judges.commands.flags import counted
from judges.commands.in_turn import judge_all
from judges.config import JudgeConfig
from judges.judge import Judge, make_judge
from judges.opening import MakeGrader
from judges.verdict import TURNED_AWAY, FaultCause, JudgeFault, JudgeRequest, Verdict
from rl.refusal import Refusal

NOT_AGAIN = TURNED_AWAY | {FaultCause.BUDGET}


@dataclass(frozen=True, kw_only=True)
class Asked:
    verdicts: list[Verdict]
    faults: dict[str, int]
    """By cause, each time it happened, those included that were answered when asked again."""


class Asker:
    """A model under the name its settings have. Raises Refusal for whatever is wrong with them."""

    def __init__(self, name: str, config: JudgeConfig, out: Path, grader: MakeGrader) -> None:
        self.name = name
        self.config = replace(config, ledger=config.ledger or str(out / f"{name}.sqlite"))
        self._grader = grader
        try:
            self._make(self.config)
        except ValueError as error:
            raise Refusal(str(error).replace("judge.", f"{name}.")) from None

    def _make(self, config: JudgeConfig) -> Judge:
        return make_judge(config, self._grader)

    def ask(self, requests: Sequence[JudgeRequest], *, again: int) -> Asked:
        """Nothing in its ledger is asked, or paid, twice."""
        verdicts: list[Verdict] = []
        faults: Counter[str] = Counter()
        left = list(range(len(requests)))
        for _ in range(again + 1):
            said, _ = asyncio.run(
                judge_all(self.config, [requests[place] for place in left], make=self._make)
            )
            verdicts = verdicts or said
            for place, verdict in zip(left, said, strict=True):
                verdicts[place] = verdict
            causes = [verdict.cause for verdict in said if isinstance(verdict, JudgeFault)]
            faults.update(cause.value for cause in causes)
            left = [
                place
                for place, verdict in enumerate(verdicts)
                if isinstance(verdict, JudgeFault) and verdict.cause not in NOT_AGAIN
            ]
            if not left:
                break
        if all(isinstance(verdict, JudgeFault) for verdict in verdicts):
            raise Refusal(
                f"the {self.name} answered nothing: {counted(faults)}; the first: "
                f"{verdicts[0].detail}. Look at --{self.name}.url and --{self.name}.model"
            )
        return Asked(verdicts=verdicts, faults=dict(faults))

    def spent(self) -> dict[str, float]:
        """By all runs on its ledger."""

        async def read() -> dict[str, float]:
            async with Ledger(self.config.ledger or "") as ledger:
                spent = ledger.spent()
            return {"calls": spent.calls, "tokens": spent.tokens, "usd": spent.usd}

        return asyncio.run(read())
