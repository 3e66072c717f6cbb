"""`python -m judges score FILE.jsonl`: a verdict for every row of a file."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from judges.commands.flags import check_writable, counted, read_flags, told
from judges.commands.in_turn import judge_all
from judges.commands.jsonl import Row, as_line, read_jsonl, text_of, texts_of
from judges.config import JudgeConfig
from judges.stats import JudgeStats
from judges.verdict import JudgeFault, JudgeRequest, Scored, Verdict


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Verdicts for a JSONL of {"question", "truth", "answer"}, with "aliases" and "lang" if any.

    Writes the rows with their verdicts, in order, as they are judged; exits with 1 if any of them
    is a fault.
    """

    file: Annotated[str, tyro.conf.Positional]
    out: str | None = None
    """Where the verdicts go; standard output if not given."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)


def read_rows(path: str) -> list[tuple[Row, JudgeRequest]]:
    rows = read_jsonl(path, _requested, wanted="a JSONL of question, truth and answer")
    if not rows:
        raise ValueError(f"{path} has no rows: there is nothing to score")
    return rows


def _requested(row: Row) -> tuple[Row, JudgeRequest]:
    return row, JudgeRequest(
        question=text_of(row, "question"),
        truth=text_of(row, "truth"),
        answer=text_of(row, "answer"),
        aliases=texts_of(row, "aliases"),
        lang=str(row.get("lang") or "en"),
    )


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
        f"{scored.total()} scored{_listed(scored)}, {faults.total()} faults{_listed(faults)}, "
        f"{stats.cached} not paid again{p50}; "
        f"{stats.usage.input_tokens} tokens in, {stats.usage.output_tokens} out, "
        f"${stats.usage.usd:.4f}"
    )


def _listed(counter: Counter[str]) -> str:
    return f" ({counted(counter)})" if counter else ""


class Out:
    """Where rows go as soon as they are judged. A file is left as it was until there is one."""

    def __init__(self, path: str | None, rows: Sequence[Row]) -> None:
        self.written = 0
        self._path = path
        self._rows = rows

    def add(self, place: int, verdict: Verdict) -> None:
        line = as_line({**self._rows[place], **verdict_row(verdict)})
        if self._path is None:
            print(line, flush=True)
        else:
            self._write(self._path, line)
        self.written += 1

    def _write(self, path: str, line: str) -> None:
        try:
            with Path(path).open("a" if self.written else "w", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise ValueError(
                f"--out {path} could not be written after {self.written} rows ({error.strerror})"
            ) from error

    def kept(self, ledger: str | None) -> str:
        where = f"are judged and in {self._path}" if self._path else "are judged and were printed"
        on = "The same command goes" if ledger else "With --ledger FILE the same command would go"
        return f"{self.written} of {len(self._rows)} rows {where}. {on} on from there"


def score(config: ScoreConfig, rows: Sequence[tuple[Row, JudgeRequest]], out: Out) -> int:
    requests = [request for _, request in rows]
    verdicts, stats = asyncio.run(judge_all(config.judge, requests, on_verdict=out.add))
    print(summary(verdicts, stats), file=sys.stderr)
    return 1 if any(isinstance(verdict, JudgeFault) for verdict in verdicts) else 0


def _check_out(config: ScoreConfig) -> None:
    check_writable(out=config.out, ledger=config.judge.ledger)
    if config.out and Path(config.out).exists() and Path(config.out).samefile(config.file):
        raise ValueError(f"--out is {config.out!r}, the file that is read: name another")


def main(args: Sequence[str]) -> int:
    config = read_flags(ScoreConfig, "score", args)
    out = Out(config.out, [])

    def work() -> int:
        nonlocal out
        rows = read_rows(config.file)
        _check_out(config)
        out = Out(config.out, [row for row, _ in rows])
        return score(config, rows, out)

    return told(work, kept=lambda: out.kept(config.judge.ledger))
