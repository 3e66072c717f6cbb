"""`python -m judges pairwise A.jsonl B.jsonl`: whose answers are better, blind, in both orders."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Annotated

import tyro

from judges.commands.answers import Answered, drawn, read_answers
from judges.commands.flags import (
    check_writable,
    counted,
    exit_status,
    in_ledger,
    read_flags,
    told,
    write_json,
)
from judges.commands.in_turn import judge_all
from judges.commands.score import verdict_row
from judges.config import JudgeConfig, at_least, share_of_one
from judges.judge import make_judge
from judges.pairwise.figures import Match, Outcome, outcome
from judges.pairwise.grader import PairGrader
from judges.pairwise.matches import check_judge, matched
from judges.verdict import JudgeRequest, Verdict


@dataclass(frozen=True, kw_only=True)
class PairwiseConfig:
    """Whose answers are better: those of file A or those of file B.

    Each line is {"question", "answer"}, with "truth", "reasoning" and "lang" if any. Questions that
    both files have are judged twice, with A's answer first and with B's, and the judge is not told
    whose is whose. Exits with 1 if the judge only looks at the place, or too little was judged.
    """

    a: Annotated[str, tyro.conf.Positional]
    b: Annotated[str, tyro.conf.Positional]
    rows: int | None = None
    """Compare on this many questions; on all if not given."""
    seed: int = 0
    """Of the rows, of what is asked first, and of the intervals."""
    with_reasoning: bool = False
    """Show the judge each answer's `reasoning` too. A person would not see it."""
    min_judged: float = 0.9
    """Share of the questions that must get a verdict in both orders."""
    json: str | None = None
    """Where the figures and every verdict go, as JSON."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 1)
        share_of_one("min_judged", self.min_judged)
        check_judge(self.judge)


def main(args: Sequence[str]) -> int:
    config = read_flags(PairwiseConfig, "pairwise", args)
    return told(lambda: pairwise(config), kept=lambda: in_ledger(config.judge.ledger))


def pairwise(config: PairwiseConfig) -> int:
    pairs, alone = in_both(read_answers(config.a), read_answers(config.b))
    if not pairs:
        raise ValueError(
            f"{config.a} and {config.b} have no question in common: nothing to compare"
        )
    check_writable(json=config.json, ledger=config.judge.ledger)
    pairs = drawn(pairs, config.rows, config.seed)
    matches = asyncio.run(judged(config, pairs))
    found = outcome(matches, seed=config.seed)
    print(as_text(config, found, alone))
    if config.json:
        rows = [
            {"question": one.question, "a": one.answer, "b": other.answer}
            | {"a_first": verdict_row(match.a_first), "b_first": verdict_row(match.b_first)}
            for (one, other), match in zip(pairs, matches, strict=True)
        ]
        write_json(config.json, asdict(found), rows)
    return exit_status(failures(found, config))


def in_both(
    a: Sequence[Answered], b: Sequence[Answered]
) -> tuple[list[tuple[Answered, Answered]], int]:
    """Pairs by question, the first answer to one with the first; and how many rows are alone."""
    by_place = dict(zip(_places(b), b, strict=True))
    pairs = [
        (each, by_place[key]) for key, each in zip(_places(a), a, strict=True) if key in by_place
    ]
    return pairs, len(a) + len(b) - 2 * len(pairs)


def _places(rows: Sequence[Answered]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    places: list[tuple[str, int]] = []
    for row in rows:
        places.append((row.question, seen[row.question]))
        seen[row.question] += 1
    return places


async def judged(config: PairwiseConfig, pairs: Sequence[tuple[Answered, Answered]]) -> list[Match]:
    async def ask(requests: Sequence[JudgeRequest]) -> Sequence[Verdict]:
        verdicts, _ = await judge_all(
            config.judge, requests, make=partial(make_judge, grader=PairGrader)
        )
        return verdicts

    return await matched(pairs, ask, seed=config.seed, with_reasoning=config.with_reasoning)


def failures(found: Outcome, config: PairwiseConfig) -> list[str]:
    problems: list[str] = []
    if found.judged < config.min_judged * found.questions:
        problems.append(
            f"{found.judged} of {found.questions} questions were judged in both orders, and "
            f"{config.min_judged:.0%} are needed: {counted(found.faults)}"
        )
    if found.only_looks_at_the_place:
        assert found.first.value is not None
        place = "first" if found.first.value > 0.5 else "second"
        problems.append(
            f"the judge names whoever stands {place}, whichever answer it is: it has not compared "
            "them, and the figures above say nothing. Choose another judge"
        )
    elif found.told_nobody_apart:
        problems.append(
            f"the judge names neither, of all {found.judged - found.same} pairs of answers that "
            "differ: the figures above say nothing. Choose another judge, or another --grading"
        )
    return problems


def as_text(config: PairwiseConfig, found: Outcome, alone: int) -> str:
    lines = [
        f"A {config.a}\nB {config.b}",
        f"{found.questions} questions, {found.judged} judged in both orders"
        + (f", {alone} rows without a counterpart left out" if alone else ""),
        f"A better {found.wins}, neither {found.ties}, B better {found.losses}"
        + (f"; sign test p = {found.p:.2g}" if found.p is not None else ""),
        f"A is better   {found.better:.2f}   (a tie is a half)",
        f"first place   {found.first:.2f}   (0.50 is a judge without a favourite place)",
    ]
    if found.same_both_ways is not None:
        lines.append(f"both orders say the same on {found.same_both_ways:.0%} of the questions")
    low, high = found.first.low, found.first.high
    if low is not None and high is not None and not low <= 0.5 <= high:
        lines.append("NOTE: it favours a place; both orders are asked, so that this makes ties")
    if found.faults:
        lines.append(f"faults        {counted(found.faults)}")
    return "\n".join(lines)
