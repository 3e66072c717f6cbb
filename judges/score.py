"""`python -m judges score FILE.jsonl`: a verdict for every row of a file."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from judges import make_judge
from judges.budget import BudgetExceeded
from judges.config import JudgeConfig
from judges.stats import JudgeStats
from judges.verdict import FaultCause, JudgeFault, JudgeRequest, Scored, Verdict

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Verdicts for a JSONL of {"question", "truth", "answer"}, with "aliases" and "lang" if any.

    Writes the rows with their verdicts; exits with 1 if any of them is a fault.
    """

    file: Annotated[str, tyro.conf.Positional]
    out: str | None = None
    """Where the verdicts go; standard output if not given."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)


def read_rows(path: str) -> list[tuple[Row, JudgeRequest]]:
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file. Give a JSONL of question, truth and answer")
    rows: list[tuple[Row, JudgeRequest]] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            request = JudgeRequest(
                question=_text(row, "question"),
                truth=_text(row, "truth"),
                answer=_text(row, "answer"),
                aliases=tuple(str(alias) for alias in row.get("aliases") or ()),
                lang=str(row.get("lang") or "en"),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        rows.append((row, request))
    if not rows:
        raise ValueError(f"{path} has no rows: there is nothing to score")
    return rows


def _text(row: Row, name: str) -> str:
    if not isinstance(row.get(name), str):
        raise ValueError(f"`{name}` must be there and be text")
    return row[name]


async def score_rows(
    config: JudgeConfig, requests: Sequence[JudgeRequest]
) -> tuple[list[Verdict], JudgeStats]:
    async with make_judge(config) as judge:

        async def verdict(request: JudgeRequest) -> Verdict:
            try:
                return await judge.score_one(request)
            except BudgetExceeded as error:  # what was paid for is still to be written
                return JudgeFault(cause=FaultCause.BUDGET, detail=str(error))

        verdicts = await asyncio.gather(*map(verdict, requests))
        return verdicts, judge.stats()


def verdict_row(verdict: Verdict) -> Row:
    if isinstance(verdict, Scored):
        return {
            "tier": verdict.tier,
            "score": verdict.score,
            "rationale": verdict.rationale,
            "cached": verdict.cached,
        }
    return {"tier": None, "score": None, "fault": verdict.cause.value, "detail": verdict.detail}


def summary(verdicts: Sequence[Verdict], stats: JudgeStats) -> str:
    scored = Counter(verdict.tier for verdict in verdicts if isinstance(verdict, Scored))
    faults = Counter(v.cause.value for v in verdicts if isinstance(v, JudgeFault))
    p50 = f", p50 {stats.p50_s:.2f} s" if stats.p50_s is not None else ""
    return (
        f"{scored.total()} scored{_counts(scored)}, {faults.total()} faults{_counts(faults)}, "
        f"{stats.cached} not paid again{p50}; "
        f"{stats.usage.input_tokens} tokens in, {stats.usage.output_tokens} out, "
        f"${stats.usage.usd:.4f}"
    )


def _counts(counter: Counter[str]) -> str:
    listed = ", ".join(f"{count} {name}" for name, count in counter.most_common())
    return f" ({listed})" if listed else ""


def main(args: Sequence[str]) -> int:
    flat = (tyro.conf.OmitArgPrefixes,)
    config = tyro.cli(ScoreConfig, args=args, prog="python -m judges score", config=flat)
    try:
        rows = read_rows(config.file)
        verdicts, stats = asyncio.run(score_rows(config.judge, [request for _, request in rows]))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    lines = [
        json.dumps({**row, **verdict_row(verdict)}, ensure_ascii=False)
        for (row, _), verdict in zip(rows, verdicts, strict=True)
    ]
    if config.out:
        Path(config.out).write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        print("\n".join(lines))
    print(summary(verdicts, stats), file=sys.stderr)
    return 1 if any(isinstance(verdict, JudgeFault) for verdict in verdicts) else 0
