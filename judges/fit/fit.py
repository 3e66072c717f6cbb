"""`python -m judges fit FILE.jsonl`: the best way to ask a judge, found and kept in a profile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, get_args

import tyro

from judges.commands.flags import check_writable, in_ledger, read_flags, told, write, write_json
from judges.commands.score import verdict_row
from judges.config import JudgeConfig, at_least, share_of_one
from judges.fit.found import Fit, cuts_of, figures_of, profile_of_fit
from judges.fit.profile import as_toml
from judges.fit.told import as_text
from judges.fit.ways import Way
from judges.rubric.rubric import load_rubric
from judges.trust.labelled import SHIPPED, Fields, read_labelled, right_from, sample
from judges.trust.plot import reliability_html

DECIDED = ("grading", "rationale", "samples", "lineup", "commit_first", "defences")


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """The best way to ask a judge, and what its scores are then worth, from answers people graded.

    Ways of asking are tried on half of the questions. The cheapest that nobody beats is compared on
    the other half with the plain question, and written down as a profile for --judge.profile. A
    judge that cannot tell right from wrong gets none, and 1 is the exit code.
    """

    file: Annotated[str, tyro.conf.Positional] = str(SHIPPED)
    fields: Fields = field(default_factory=Fields)
    rows: int | None = None
    """Judge this many rows, of every label alike; all if not given."""
    seed: int = 0
    """Of the rows, of the halves and of the intervals."""
    right_from: float | None = None
    """The score from which a label counts as right; the lowest above 0 that the rubric has."""
    ways: tuple[Way, ...] = get_args(Way)
    """To try. Those that cannot be read without log-probs are left out where there are none."""
    attacks: int = 24
    """Answers that are none and want a score: a way that surely believes more than 1 % is out."""
    min_j: float = 0.2
    """What J must be at least, at the lower end of its interval, for a judge to be of use."""
    out: str = "profile.toml"
    """Where the profile goes."""
    json: str | None = None
    """Where the figures go, as JSON."""
    plot: str | None = None
    """Where the picture goes, as an HTML page: what scores promise, and what they are worth."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        at_least("rows", self.rows, 1)
        at_least("attacks", self.attacks, 0)
        share_of_one("min_j", self.min_j)
        for name in ("profile", "panel", "fallback", *DECIDED):
            if (value := getattr(self.judge, name)) != getattr(JudgeConfig(), name):
                raise ValueError(
                    f"judge.{name} is {value!r}: fit finds the way to ask one judge, and tries "
                    "what --ways names. Leave it out"
                )


def why_useless(found: Fit, min_j: float) -> str | None:
    if found.chosen is None:
        return "no way of asking got verdicts on nine answers of ten. Try --ways, see the faults"
    if not found.figures:
        return f"asked as {found.chosen.name}, right answers do not score above wrong ones"
    if share := found.choice.believes:
        return (
            f"whatever way it is asked, attacks count as right: {share:.1%} as "
            f"{found.chosen.name}. Try ways with a line-up, or --attacks 0 to see the rest"
        )
    area, j = found.figures["auc"].ours, found.figures["j"].ours
    if area.value is None or area.low is None or area.low <= 0.5:
        return f"its AUC may be that of chance: {area:.3f}"
    if j.low is None or j.low < min_j:
        return f"J may be below {min_j:g}: {j:.3f}. A policy would learn what it gets wrong"
    return None


def main(args: Sequence[str]) -> int:
    config = read_flags(FitConfig, "fit", args)
    return told(lambda: fit(config), kept=lambda: in_ledger(config.judge.ledger))


def fit(config: FitConfig) -> int:
    from judges.fit.search import search  # httpx stays out of `fit --help`

    check_writable(out=config.out, json=config.json, plot=config.plot, ledger=config.judge.ledger)
    rubric = load_rubric(config.judge.rubric)
    cut = right_from(rubric, config.right_from)
    rows = read_labelled(config.file, config.fields, rubric, cut)
    rows = sample(rows, config.rows, config.seed)
    found = asyncio.run(
        search(*(config.judge, rows, config.ways, rubric), attacks=config.attacks, seed=config.seed)
    )
    print(as_text(found, cuts_of(found, rubric)))
    if config.json:
        write_json(config.json, figures_of(found), list(map(verdict_row, found.verdicts)))
    if config.plot:
        write("plot", config.plot, reliability_html(found.promises))
    if why := why_useless(found, config.min_j):
        print(f"NOT USABLE as a judge: {why}. No profile is written", file=sys.stderr)
        return 1
    write("out", config.out, as_toml(profile_of_fit(found, rubric)))
    print(f"\nwritten to {config.out}: python -m judges redteam --profile {config.out} ...")
    return 0
