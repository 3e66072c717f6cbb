"""A profile: the way that one judge is asked best, and what its scores are worth. `fit` makes it.

It is of one model, one rubric and one wording, and refused with any other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal

from judges.client.backends import resolve
from judges.client.ledger import fingerprint
from judges.config import JudgeConfig
from judges.fit.curve import ANY, Curve, odds_of, share_at
from judges.rubric.rubric import Rubric, load_rubric
from judges.verdict import JudgeRequest, Scored

Reading = Literal["expected", "likeliest"]
"""What is taken of a verdict: the mean over tiers by log-probs, or the one tier that it names."""
WHOLE = 10.0
"""From the lowest tier to the highest, where whole tiers lie on a line. About what odds reach."""
OF_A_WAY = (
    *("grading", "rationale", "samples", "lineup", "commit_first"),
    *("reasoning", "temperature", "max_reply_tokens"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A labelled answer and what the judge said of it, to be asked again before a run."""

    request: JudgeRequest
    raw: float


@dataclass(frozen=True, kw_only=True)
class Profile:
    made: date
    model: str
    weights: str
    """The fingerprint of a GGUF file; empty for what is served elsewhere."""
    fingerprint: str
    """What the server says of what it runs, if it does."""
    rubric: str
    """Its hash."""
    template: str
    """Its hash."""
    way: Mapping[str, Any]
    """Of the judge's config, what `fit` chose."""
    reading: Reading
    low: float
    """What the curves call 0 and 1, as scores of the rubric."""
    high: float
    right_from: float
    """The calibrated score from which an answer is as likely right as not, in every language."""
    cuts: Mapping[str, float]
    """The same as a raw score, by language."""
    curves: Mapping[str, Curve]
    figures: Mapping[str, Mapping[str, float]]
    """Of the rows that nothing was chosen on."""
    rows: tuple[Kept, ...]

    def calibrated(self, verdict: Scored, lang: str, rubric: Rubric) -> Scored:
        """What the line-up took away stays away."""
        if verdict.demoted:
            return verdict
        curve = self.curves.get(lang, self.curves[ANY])
        share = curve.at(place_of(verdict, rubric, self.reading))
        return replace(verdict, score=self.low + (self.high - self.low) * share)


def raw_score(verdict: Scored, rubric: Rubric, reading: Reading) -> float:
    return verdict.score if reading == "expected" else rubric.tier(verdict.tier).score


def share_of(score: float, rubric: Rubric) -> float:
    """Of the way from the lowest tier to the highest."""
    scores = [tier.score for tier in rubric.tiers]
    return (score - min(scores)) / (max(scores) - min(scores))


def place_of(verdict: Scored, rubric: Rubric, reading: Reading) -> float:
    """Where it lies on the line that curves are drawn over."""
    share = share_of(raw_score(verdict, rubric, reading), rubric)
    return odds_of(share) if reading == "expected" else WHOLE * (share - 0.5)


def score_at(place: float, rubric: Rubric, reading: Reading) -> float:
    """The raw score that lies there."""
    share = share_at(place) if reading == "expected" else place / WHOLE + 0.5
    scores = [tier.score for tier in rubric.tiers]
    return min(scores) + share * (max(scores) - min(scores))


def way_of(config: JudgeConfig) -> dict[str, Any]:
    """What of it a profile holds: all that decides how an answer is asked about."""
    own = {name: getattr(config, name) for name in OF_A_WAY}
    return {name: value for name, value in own.items() if value is not None}


def model_of(config: JudgeConfig) -> tuple[str, str]:
    """Its name, and the fingerprint of its weights where they are a file here."""
    model = resolve(config, keyless=True).model or ""
    if config.backend != "llamacpp":
        return model, ""
    return Path(model).name, fingerprint(model)


def profile_of(config: JudgeConfig) -> Profile | None:
    """Raises ValueError where it is not of this judge."""
    if config.profile is None:
        return None
    profile, said = load_profile(config.profile), f"judge.profile is {config.profile!r}"
    if config.panel or config.fallback:
        which = "panel" if config.panel else "fallback"
        raise ValueError(
            f"{said}, and judge.{which} names other judges: a profile is of one, and their scores "
            f"would mean something else. Leave out --judge.{which} or --judge.profile"
        )
    again = "Make one for this judge: python -m judges fit"
    if config.backend != "replay" or config.model:
        model, weights = model_of(config)
        if (model, weights) != (profile.model, profile.weights):
            other = " with other weights" if model == profile.model else ""
            raise ValueError(
                f"{said}, of the model {profile.model!r}{other}, and this is {model!r}. {again}"
            )
    rubric = load_rubric(config.rubric)
    for what, own, its in (
        ("rubric", rubric.sha, profile.rubric),
        ("wording", rubric.template_sha, profile.template),
    ):
        if own != its:
            raise ValueError(
                f"{said}: its {what} is not that of judge.rubric {config.rubric} (hash {its}, not "
                f"{own}). Give the rubric that it was made with, or make one: python -m judges fit"
            )
    for name, value in profile.way.items():
        own = getattr(config, name)
        if own not in (getattr(JudgeConfig(), name), value):
            raise ValueError(
                f"judge.{name} is {own!r}, and judge.profile {config.profile} sets it to "
                f"{value!r}. Leave one of them out"
            )
    return profile


def in_its_way(config: JudgeConfig) -> JudgeConfig:
    """As its profile says, if it has one. Without defences there is no line-up either."""
    profile = profile_of(config)
    if profile is None:
        return config
    way = replace(config, **profile.way)
    return way if config.defences else replace(way, lineup=False)


def load_profile(path: str) -> Profile:
    said = f"judge.profile is {path!r}"
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"{said} and cannot be read ({error.strerror}). Make one: python -m judges fit"
        ) from error
    except ValueError as error:
        raise ValueError(f"{said}: not valid TOML ({error})") from error
    try:
        curves = {lang: Curve(**curve) for lang, curve in data.pop("curves").items()}
        rows = [Kept(raw=row.pop("raw"), request=_request(row)) for row in data.pop("rows", [])]
        profile = Profile(curves=curves, rows=tuple(rows), **data)
        _ = profile.curves[ANY]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{said}: not a profile ({error!r}). Make one: python -m judges fit"
        ) from error
    if unknown := sorted(set(profile.way) - set(OF_A_WAY)):
        raise ValueError(f"{said}: its way has the unknown key {unknown[0]!r}")
    return profile


def _request(row: dict[str, Any]) -> JudgeRequest:
    row["aliases"] = tuple(row["aliases"])
    return JudgeRequest(**row)


def as_toml(profile: Profile) -> str:
    import tomli_w  # only fit writes one

    data = asdict(profile)
    data["rows"] = [{**row["request"], "raw": row["raw"]} for row in data["rows"]]
    return tomli_w.dumps(data)
