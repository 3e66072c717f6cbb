"""What a judge is asked about a request: for a verdict, for claims, for an entry of a line-up."""

from judges.client.backends import Backend
from judges.client.features import Features
from judges.client.wire import Ask, in_its_format
from judges.config import JudgeConfig
from judges.rubric.ladder import LADDER_SCHEMA, ladder_prompt
from judges.rubric.lineup import Lineup, lineup_prompt, lineup_schema
from judges.rubric.prompt import commitment_prompt, fence_of, grading_prompt
from judges.rubric.reply import CLAIMS_SCHEMA, verdict_schema
from judges.rubric.rubric import Rubric, Tier
from judges.verdict import JudgeRequest, Usage


def verdict_ask(
    request: JudgeRequest,
    rubric: Rubric,
    config: JudgeConfig,
    *,
    key: str = "",
    secret: str = "",
    claims: str = "",
    sample: int = 0,
) -> Ask:
    return Ask(
        key=key,
        request=request,
        prompt=lambda grading: grading_prompt(
            *(request, rubric, grading),
            defences=config.defences,
            rationale=config.rationale,
            secret=secret,
            claims=claims,
        ),
        schema=verdict_schema(rubric, rationale=config.rationale),
        temperature=config.sampling_temperature,
        max_tokens=config.max_reply_tokens,
        seed=sample if config.samples > 1 else None,
    )


def rung_ask(
    request: JudgeRequest, rubric: Rubric, config: JudgeConfig, tier: Tier, *, key: str = ""
) -> Ask:
    return Ask(
        key=key,
        request=request,
        prompt=lambda grading: ladder_prompt(
            request, rubric, tier, grading, defences=config.defences
        ),
        schema=LADDER_SCHEMA,
        temperature=config.sampling_temperature,
        max_tokens=config.max_reply_tokens,
    )


def asks_for_a_verdict(
    request: JudgeRequest, rubric: Rubric, config: JudgeConfig, *, claims: str = ""
) -> list[Ask]:
    """The most that a verdict takes, to be reckoned with."""
    if config.grading == "ladder":
        return [rung_ask(request, rubric, config, tier) for tier in rubric.rungs]
    return [verdict_ask(request, rubric, config, claims=claims, sample=config.samples)]


def claims_ask(request: JudgeRequest, rubric: Rubric, config: JudgeConfig, *, key: str = "") -> Ask:
    return Ask(
        key=key,
        request=request,
        prompt=lambda _: commitment_prompt(request, rubric),
        schema=CLAIMS_SCHEMA,
        max_tokens=config.max_reply_tokens,
        logprobs=False,
    )


def entry_ask(
    request: JudgeRequest, lineup: Lineup, config: JudgeConfig, *, key: str = "", secret: str = ""
) -> Ask:
    fence = fence_of(request, secret)
    return Ask(
        key=key,
        request=request,
        prompt=lambda grading: lineup_prompt(request, lineup, grading, fence),
        schema=lineup_schema(lineup),
        max_tokens=config.max_reply_tokens,
    )


def worst_of(ask: Ask, backend: Backend, config: JudgeConfig) -> Usage:
    """What a budget sets aside for it, and `tpm` counts."""
    features = Features(form=backend.form, logprobs=config.reads_logprobs)
    _, worst = in_its_format(backend, ask, features.of(logprobs=ask.logprobs))
    return worst
