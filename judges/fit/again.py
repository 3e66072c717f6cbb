"""A second look at a profile before it is paid for: is its judge still the one it was made with?"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from statistics import fmean

from judges.client.backends import resolve
from judges.config import JudgeConfig
from judges.fit.profile import in_its_way, profile_of, raw_score, share_of
from judges.judge import make_judge
from judges.rubric.rubric import load_rubric
from judges.verdict import Scored

OLD_DAYS = 90
MOVED = 0.1
"""So far may its scores be from what they were, on average, as a share of the rubric's range."""


async def doubts_of(config: JudgeConfig) -> list[str]:
    """A line each, for people. Nothing without a profile, or where nothing speaks against it."""
    profile = profile_of(config)
    if profile is None:
        return []
    said = f"judge.profile {config.profile}"
    again = "A new one: python -m judges fit"
    doubts: list[str] = []
    if (age := (date.today() - profile.made).days) > OLD_DAYS:
        doubts.append(f"{said} was made {age} days ago, on {profile.made}. {again}")
    if config.backend == "replay" or resolve(config).url is None:  # nobody else can have changed it
        return doubts
    rubric = load_rubric(config.rubric)
    bare = replace(in_its_way(config), profile=None, ledger=None)  # which would answer in its place
    async with make_judge(bare) as judge:
        verdicts = await judge.score([row.request for row in profile.rows])
        served = judge.stats().fingerprint
    moves = [
        abs(
            share_of(raw_score(verdict, rubric, profile.reading), rubric)
            - share_of(row.raw, rubric)
        )
        for row, verdict in zip(profile.rows, verdicts, strict=True)
        if isinstance(verdict, Scored)
    ]
    if profile.fingerprint and served and served != profile.fingerprint:
        doubts.append(
            f"{said} is of {profile.model} as {profile.fingerprint}, and it is now served as "
            f"{served}. {again}"
        )
    if len(moves) < len(profile.rows):
        doubts.append(
            f"{said}: of its {len(profile.rows)} rows, {len(moves)} got a verdict when they were "
            "asked again"
        )
    if moves and fmean(moves) > MOVED:
        doubts.append(
            f"{said}: {len(moves)} of its rows, asked again, moved by {fmean(moves):.0%} of the "
            f"range on average. What {profile.model} names may have changed underneath. {again}"
        )
    return doubts
