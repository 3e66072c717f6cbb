"""The search: ways tried on half of the questions, the chosen one reported on the other half."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from judges.commands.in_turn import judge_all, one_budget
from judges.config import JudgeConfig
from judges.fit.arm import Scale, compared, scaled
from judges.fit.attacked import chosen_under_attack, drawn
from judges.fit.curve import ANY, LEAST, Curve, odds_of
from judges.fit.found import Fit
from judges.fit.plain import NAME, plain_ask
from judges.fit.ways import (
    WAYS,
    Tried,
    Way,
    as_read,
    readings_of,
    said_of,
)
from judges.grader import Grader
from judges.judge import make_judge
from judges.opening import check
from judges.rubric.ladder import yes_share
from judges.rubric.lineup import unpaid
from judges.rubric.rubric import Rubric
from judges.stats import JudgeStats
from judges.trust.compare import faults_of
from judges.trust.cost import cost_of
from judges.trust.labelled import Labelled, ends_of, worth_of
from judges.verdict import JudgeRequest, Scored, Verdict

UNSCALED = Scale(curves={ANY: Curve(1.0, 0.0)}, right_share=0.5, nothing=0.0)
"""Of a plain question whose yes says nothing: as it stands."""


class PlainGrader(Grader):
    """Asks the plain question. The score is how surely it says yes."""

    async def _down_the_ladder(self, request: JudgeRequest, deadline: float) -> Scored:
        key = self._setup.key(request, sample=NAME)
        ask = plain_ask(request, key, self._config.max_reply_tokens)
        answer = await self.chat.ask(ask, yes_share, deadline)
        return Scored(
            tier="right" if answer.said > 0.5 else "wrong",
            score=answer.said,
            cached=answer.cached,
            usage=answer.usage,
        )


def configs_of(config: JudgeConfig, ways: Sequence[Way], rubric: Rubric) -> dict[Way, JudgeConfig]:
    """Those that this backend and rubric can be asked in."""
    configs: dict[Way, JudgeConfig] = {way: replace(config, **WAYS[way]) for way in ways}
    return {way: own for way, own in configs.items() if _can_be_asked(own, rubric)}


def _can_be_asked(config: JudgeConfig, rubric: Rubric) -> bool:
    try:
        check(config, rubric)
    except ValueError:
        return False
    return True


def halves(rows: Sequence[Labelled], seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """By question; the answers to one stand together, so that a judge reads its beginning once."""

    def question(row: Labelled) -> tuple[str, str]:
        return row.request.lang, row.request.question

    questions = sorted(set(map(question, rows)))
    random.Random(seed).shuffle(questions)
    first = set(questions[::2])
    ordered = sorted(rows, key=question)
    parts = (
        [row for row in ordered if question(row) in first],
        [row for row in ordered if question(row) not in first],
    )
    for part in parts:
        rights = sum(row.right for row in part)
        if min(rights, len(part) - rights) < LEAST:
            raise ValueError(
                f"half of the questions have {rights} right answers and {len(part) - rights} "
                f"wrong ones, and {LEAST} of each are needed to choose by and to report on. Label "
                "more of them"
            )
    return parts


async def search(
    judge: JudgeConfig,
    rows: Sequence[Labelled],
    ways: Sequence[Way],
    rubric: Rubric,
    *,
    attacks: int,
    seed: int,
) -> Fit:
    """`attacks` are how many a way has to withstand."""
    choosing, reporting = parts = halves(rows, seed)
    low, high = ends_of(rows, rubric)

    def worth(row: Labelled) -> float:
        return (worth_of(row, rubric) - low) / (high - low)

    met = drawn(choosing, rubric, attacks, seed)
    nothing = max((unpaid(rubric).score - low) / (high - low), 0.0)
    with one_budget(judge) as judge:
        plain = await _plain(judge, choosing)
        tried = [
            each
            for way, own in configs_of(judge, ways, rubric).items()
            for each in await _tried(way, own, choosing, rubric)
        ]
        choice = await chosen_under_attack(
            tried, met, lambda way: scaled(way.said, worth, nothing), rubric, seed=seed
        )
        chosen, scale = choice.way, choice.scale
        fit = partial(
            Fit,
            judge=judge,
            ends=(low, high),
            halves=parts,
            tried=tried,
            plain=plain,
            choice=choice,
        )
        if chosen is None or scale is None:
            return fit()
        plain_after = await _plain(judge, reporting)
        verdicts, stats = await _judged(chosen.config, reporting)
    said = said_of(reporting, verdicts, as_read(chosen.reading, rubric))
    plain_scale = scaled(plain.said, worth, nothing) or UNSCALED
    both = [
        (scale.seen(one, worth), plain_scale.seen(other, worth))
        for one, other in zip(said, plain_after.said, strict=True)
    ]
    seen = [(one, other) for one, other in both if one and other]
    return fit(
        figures=compared(seen, seed=seed) if seen else {},
        seen=seen,
        costs=(cost_of(verdicts), plain_after.cost),
        verdicts=verdicts,
        fingerprint=stats.fingerprint,
    )


async def _judged(
    config: JudgeConfig, rows: Sequence[Labelled]
) -> tuple[list[Verdict], JudgeStats]:
    return await judge_all(config, [row.request for row in rows])


async def _plain(judge: JudgeConfig, rows: Sequence[Labelled]) -> Tried:
    own = replace(judge, grading="ladder")  # whose every question is a yes or a no
    make = partial(make_judge, grader=PlainGrader)
    verdicts, _ = await judge_all(own, [row.request for row in rows], make=make)
    said = said_of(rows, verdicts, lambda verdict: odds_of(verdict.score))
    return Tried(
        way="plain",
        reading="expected",
        config=own,
        said=said,
        faults=faults_of(verdicts),
        cost=cost_of(verdicts),
    )


async def _tried(
    way: Way, config: JudgeConfig, rows: Sequence[Labelled], rubric: Rubric
) -> list[Tried]:
    verdicts, _ = await _judged(config, rows)
    return [
        Tried(
            way=way,
            reading=reading,
            config=config,
            said=said_of(rows, verdicts, as_read(reading, rubric)),
            faults=faults_of(verdicts),
            cost=cost_of(verdicts),
        )
        for reading in readings_of(config)
    ]
