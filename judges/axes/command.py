"""`python -m judges axes ANSWERS.jsonl`: what answers are worth, from 1 to 5 on several axes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Annotated

import tyro

from judges.axes.axes import load_axes
from judges.axes.figures import Outcome, outcome
from judges.axes.grader import AxesGrader
from judges.axes.question import Rated
from judges.commands.answers import UNUSED, Answered, drawn, read_answers
from judges.commands.flags import (
    check_writable,
    counted,
    exit_status,
    in_ledger,
    read_flags,
    refuse_settings,
    told,
    write_json,
)
from judges.commands.in_turn import judge_all
from judges.commands.jsonl import Row
from judges.commands.score import verdict_row
from judges.config import JudgeConfig, at_least, share_of_one
from judges.judge import make_judge
from judges.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class AxesConfig:
    """What answers are worth, from 1 to 5 on each of several axes, in one call an answer.

    Each line is {"question", "answer"}, with "truth", "reasoning" and "lang" if any. Exits with 1
    if the judge gives everything the same number, or too little was judged.
    """

    file: Annotated[str, tyro.conf.Positional]
    axes: str | None = None
    """TOML file of the axes and of how the judge is told of them, as judges/axes/axes.toml is."""
    rows: int | None = None
    """Rate this many answers; all if not given."""
    seed: int = 0
    """Of the rows and of the intervals."""
    with_reasoning: bool = False
    """Show the judge each answer's `reasoning` too. A person would not see it."""
    min_judged: float = 0.9
    """Share of the answers that must get their ratings."""
    json: str | None = None
    """Where the figures and every rating go, as JSON."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 1)
        share_of_one("min_judged", self.min_judged)
        check_judge(self.judge)


def check_judge(judge: JudgeConfig) -> None:
    refuse_settings(judge, (*UNUSED, "grading", "rationale"), where="an answer is rated by axes")


def main(args: Sequence[str]) -> int:
    config = read_flags(AxesConfig, "axes", args)
    return told(lambda: rate(config), kept=lambda: in_ledger(config.judge.ledger))


def rate(config: AxesConfig) -> int:
    axes = load_axes(config.axes)
    answers = read_answers(config.file)
    if not answers:
        raise ValueError(f"{config.file} has no rows: there is nothing to rate")
    check_writable(json=config.json, ledger=config.judge.ledger)
    answers = drawn(answers, config.rows, config.seed)
    requests = [each.request(config.with_reasoning) for each in answers]
    make = partial(make_judge, grader=partial(AxesGrader, axes))
    verdicts, _ = asyncio.run(judge_all(config.judge, requests, make=make))
    found = outcome([a.question for a in answers], verdicts, axes.names, seed=config.seed)
    print(as_text(config, found))
    if config.json:
        rows = [rated_row(answer, said) for answer, said in zip(answers, verdicts, strict=True)]
        write_json(config.json, asdict(found), rows)
    return exit_status(failures(found, config))


def rated_row(answered: Answered, verdict: Verdict) -> Row:
    ratings = verdict.ratings if isinstance(verdict, Rated) else None
    shown = {"question": answered.question, "answer": answered.answer}
    return {**shown, "ratings": ratings, **verdict_row(verdict)}


def failures(found: Outcome, config: AxesConfig) -> list[str]:
    problems: list[str] = []
    if found.judged < config.min_judged * found.answers:
        problems.append(
            f"{found.judged} of {found.answers} answers were rated, and {config.min_judged:.0%} "
            f"are needed: {counted(found.faults)}"
        )
    if found.told_nothing_apart:
        problems.append(
            f"the judge gives every answer {found.mean.value:.0f} on every axis: it has told none "
            "from another, and the figures above say nothing. Choose another judge"
        )
    return problems


def as_text(config: AxesConfig, found: Outcome) -> str:
    width = max(map(len, found.axes))
    lines = [f"{config.file}: {found.answers} answers, {found.judged} rated"]
    lines += [f"{name:{width}}   {mean:.2f}" for name, mean in found.axes.items()]
    lines.append(f"{'mean':{width}}   {found.mean:.2f}")
    if found.alike is not None:
        lines.append(f"{found.alike:.0%} of the answers have the same rating on every axis")
    if found.flat and not found.told_nothing_apart:
        lines.append(f"NOTE: every answer has the same rating on {', '.join(found.flat)}")
    if found.faults:
        lines.append(f"faults   {counted(found.faults)}")
    return "\n".join(lines)
