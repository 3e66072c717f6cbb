"""`python -m judges calibrate FILE.jsonl`: how far a judge agrees with people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from judges.commands.flags import (
    check_writable,
    counted,
    in_ledger,
    read_flags,
    told,
    write,
    write_json,
)
from judges.commands.in_turn import judge_all
from judges.commands.jsonl import Row
from judges.commands.score import verdict_row
from judges.config import JudgeConfig, at_least
from judges.fit.profile import in_its_way
from judges.rubric.rubric import load_rubric
from judges.trust.compare import FAULT, Agreement, Outcome, compare, confusion, laid_out, roc
from judges.trust.cost import Cost, as_line, cost_of
from judges.trust.labelled import SHIPPED, Fields, passes_from, read_labelled, right_from, sample
from judges.trust.plot import calibration_html


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """How far a judge agrees with people, on a JSONL of answers that people have graded.

    Rows are {"question", "truth", "answer", "tier"}, with "aliases" and "lang" if any. The label is
    a tier of the rubric, or 1 for right and 0 for wrong. Exits with 1 if no row could be scored.
    """

    file: Annotated[str, tyro.conf.Positional] = str(SHIPPED)
    fields: Fields = field(default_factory=Fields)
    rows: int | None = None
    """Judge this many rows, of every label alike; all if not given."""
    seed: int = 0
    """Of the rows chosen and of the intervals."""
    right_from: float | None = None
    """The score from which an answer counts as right; the lowest above 0 that the rubric has."""
    json: str | None = None
    """Where the figures and every verdict go, as JSON."""
    plot: str | None = None
    """Where the picture goes, as an HTML page."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    judge: Mapping[str, str | bool]
    file: str
    tiers: Sequence[str]
    right_from: float
    overall: Agreement
    by_lang: Mapping[str, Agreement]
    confusion: Mapping[str, Mapping[str, int]]
    """Label, then what the judge said: a tier, or `fault`."""
    roc: Sequence[tuple[float, float]]
    p50_s: float | None
    p95_s: float | None
    seconds: float
    input_tokens: int
    output_tokens: int
    usd: float
    cost: Cost


def described(judge: JudgeConfig) -> dict[str, str | bool]:
    profile, judge = judge.profile or "", in_its_way(judge)
    return {
        "backend": judge.backend,
        "model": Path(judge.model or "").name,
        "profile": Path(profile).name,
        "rubric": judge.rubric,
        "grading": judge.grading,
        "defences": judge.defences,
    }


FIGURES = (
    ("right or wrong", "accuracy"),
    ("  with faults as misses", "accuracy_faults_missed"),
    ("the very tier", "tier_accuracy"),
    ("  with faults as misses", "tier_accuracy_faults_missed"),
    ("AUC", "auc"),
    ("J: right less wrong that pass", "j"),
    ("weighted kappa", "kappa"),
    ("calibration error", "calibration_error"),
)


def as_text(found: Calibration) -> str:
    columns = {"all": found.overall, **found.by_lang}
    lines = [
        " ".join(f"{key}={value}" for key, value in found.judge.items() if value != ""),
        f"{found.file}: {found.overall.rows} rows, {found.overall.scored} scored, "
        f"{counted(found.overall.faults) or 'no faults'}",
        "",
        _row("", columns),
    ]
    for name, figure in FIGURES:
        lines.append(_row(name, [f"{getattr(each, figure):.3f}" for each in columns.values()]))
    lines.append(_row("best cut", [_number(each.best_cut) for each in columns.values()]))
    held_out = [_number(each.accuracy_at_held_out_cut) for each in columns.values()]
    lines.append(_row("  right or wrong at a held-out one", held_out))
    counts = f"an answer counts as right from {found.right_from:g}"
    lines += [f"({counts}; brackets hold 95 %, by question)", ""]
    lines += _confusion_table(found)
    seconds = " / ".join(f"{s:.2f} s" for s in (found.p50_s, found.p95_s) if s is not None)
    lines += [
        "",
        f"latency p50 / p95 {seconds or 'unknown'}, {found.seconds:.0f} s in all; "
        f"{found.input_tokens} tokens in, {found.output_tokens} out, ${found.usd:.4f}, "
        f"${found.usd / found.overall.rows * 1000:.4f} for a thousand",
        as_line(found.cost),
    ]
    return "\n".join(lines)


def _confusion_table(found: Calibration) -> list[str]:
    table = laid_out(found.confusion, found.tiers)
    rows = [_row(label, list(map(str, row.values())), 12) for label, row in table.items()]
    return ["people, down; the judge, across", _row("", (*found.tiers, FAULT), 12), *rows]


def _row(name: str, cells: Sequence[str] | Mapping[str, object], width: int = 22) -> str:
    return (f"{name:36}" + "".join(f"{cell:{width}}" for cell in cells)).rstrip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


async def run(config: CalibrateConfig) -> tuple[Calibration, list[Row]]:
    rubric = load_rubric(config.judge.rubric)
    cut = right_from(rubric, config.right_from)
    rows = read_labelled(config.file, config.fields, rubric, cut)
    rows = sample(rows, config.rows, config.seed)
    cut = passes_from(config.judge, rubric, config.right_from)
    started = time.perf_counter()
    verdicts, stats = await judge_all(config.judge, [row.request for row in rows])
    seconds = time.perf_counter() - started
    outcomes = [Outcome(row=r, verdict=v) for r, v in zip(rows, verdicts, strict=True)]
    by_lang: dict[str, list[Outcome]] = {}
    for each in sorted(outcomes, key=lambda each: each.row.request.lang):
        by_lang.setdefault(each.row.request.lang, []).append(each)

    def agreement(of: Sequence[Outcome]) -> Agreement:
        return compare(of, rubric, cut, seed=config.seed)

    found = Calibration(
        judge=described(config.judge),
        file=Path(config.file).name,
        tiers=rubric.labels,
        right_from=cut,
        overall=agreement(outcomes),
        by_lang={lang: agreement(of) for lang, of in by_lang.items() if len(by_lang) > 1},
        confusion=confusion(outcomes),
        roc=roc(outcomes),
        p50_s=stats.p50_s,
        p95_s=stats.p95_s,
        seconds=seconds,
        input_tokens=stats.usage.input_tokens,
        output_tokens=stats.usage.output_tokens,
        usd=stats.usage.usd,
        cost=cost_of(verdicts),
    )
    said = [
        {**asdict(each.row.request), "label": each.row.label, **verdict_row(each.verdict)}
        for each in outcomes
    ]
    return found, said


def main(args: Sequence[str]) -> int:
    config = read_flags(CalibrateConfig, "calibrate", args)
    return told(lambda: calibrate(config), kept=lambda: in_ledger(config.judge.ledger))


def calibrate(config: CalibrateConfig) -> int:
    check_writable(json=config.json, plot=config.plot, ledger=config.judge.ledger)
    found, said = asyncio.run(run(config))
    print(as_text(found))
    if config.json:
        write_json(config.json, asdict(found), said)
    if config.plot:
        page = calibration_html(laid_out(found.confusion, found.tiers), found.roc)
        write("plot", config.plot, page)
    return 0 if found.overall.scored else 1
