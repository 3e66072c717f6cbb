"""From a judge's reply to a verdict, or a named fault. Never a guess.

A verdict is one JSON object with one tier in it, in a code fence or bare, or a tier's label alone.
Words beside it may quote it or take it back, and broken JSON may hide another: faults.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, cast

from judges.client.wire import Json, Reply
from judges.rubric.reasoning import undeclared
from judges.rubric.rubric import Rubric, Tier
from judges.verdict import FaultCause, Faulty, Scored

SURE = 0.5
"""Least share of the probability that the options must hold together."""


def verdict_schema(rubric: Rubric, *, rationale: bool = True) -> Json:
    """The rationale comes first, so that the tier follows from it and not the reverse."""
    why = {"rationale": {"type": "string"}} if rationale else {}
    properties: Json = {**why, "tier": {"type": "string", "enum": list(rubric.labels)}}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


CLAIMS_SCHEMA: Json = {
    "type": "object",
    "properties": {"claims": {"type": "array", "items": {"type": "string"}}},
    "required": ["claims"],
    "additionalProperties": False,
}


def grade_reply(reply: Reply, rubric: Rubric) -> Scored:
    label = _label(reply.text.strip(_MARKS))
    if label in rubric.labels and not reply.truncated:
        said: Json = {"tier": label}
    else:
        said = the_object_with("tier", reply)
    tier = _known_tier(said["tier"], rubric)
    score = said.get("score")
    if score is not None and not _is_score(score, tier.score):
        raise Faulty(FaultCause.BAD_SCORE, f"tier {tier.label} is {tier.score}, not {score!r}")
    return Scored(tier=tier.label, score=tier.score, rationale=str(said.get("rationale", "")))


def read_claims(reply: Reply) -> str:
    """What a judge commits to look for, a claim a line."""
    claims = the_object_with("claims", reply)["claims"]
    if not isinstance(claims, list) or not claims:
        raise Faulty(FaultCause.NO_VERDICT, f"no claims in {reply.text[:160]!r}")
    return "\n".join(str(claim) for claim in cast(list[object], claims))


_TRANSLATED = {"等级": "tier", "理由": "rationale"}
_LANGUAGE = re.compile(r"\Ajson\s+", re.IGNORECASE)
_REFUSAL = re.compile(
    r"(i['’]?m sorry|i am sorry|sorry|i can(no|['’])?t|i['’]?m (unable|not able)|i (will|must) not|"
    r"as an ai|抱歉|对不起|很抱歉|我无法|我不能|作为(一个|一名)?(ai|人工智能))",
    re.IGNORECASE,
)


def the_object_with(key: str, reply: Reply) -> Json:
    """The one object with this key, of a reply that is JSON and nothing else. Keys in lower case.

    Raises Faulty for more than one, wherever they stand, and for any word beside the JSON.
    """
    text = reply.text.strip().strip("`").strip()
    if reply.truncated:
        raise Faulty(FaultCause.TRUNCATED, f"ran out of tokens: ...{text[-80:]!r}")
    if not text:
        raise Faulty(FaultCause.EMPTY, "the reply is empty")
    found: list[Json] = []

    def note(pairs: list[tuple[str, Any]]) -> Json:
        names = [_TRANSLATED.get(said := name.strip().casefold(), said) for name, _ in pairs]
        fields = dict(zip(names, (value for _, value in pairs), strict=True))
        found.extend([fields] * names.count(key))
        return fields

    decoder = json.JSONDecoder(object_pairs_hook=note, strict=False)
    rest = _LANGUAGE.sub("", text, count=1)
    with suppress(ValueError, RecursionError):  # what cannot be read is left over
        while rest and len(found) < 2:
            known = len(found)
            _, end = decoder.raw_decode(rest)
            if len(found) == known:
                break
            rest = rest[end:].lstrip()
    if len(found) > 1:
        raise Faulty(FaultCause.SEVERAL_VERDICTS, f"more than one {key!r} in {text[:160]!r}")
    if rest or not found:
        cause = FaultCause.REFUSED if _REFUSAL.match(text) else FaultCause.NO_VERDICT
        why = f"{undeclared(text)}not one JSON object with {key!r}: {text[:160]!r}"
        raise Faulty(cause, why)
    return found[0]


def letter_shares(reply: Reply, letters: str) -> dict[str, float]:
    """How the probability is shared among single letters."""
    said = set(re.findall(rf"\b[{letters}]\b", reply.text))
    return option_shares(reply, said, lambda token: token if token in (*letters,) else None)


def grade_logprobs(reply: Reply, rubric: Rubric) -> Scored:
    """The expected score over the tiers, by the word that the judge begins."""

    def tier_begun(token: str) -> str | None:
        begun = _label(token)
        tiers = [label for label in rubric.labels if begun and label.startswith(begun)]
        return tiers[0] if len(tiers) == 1 else None

    shares = option_shares(reply, _labels_in(reply.text, rubric.labels), tier_begun)
    score = sum(share * rubric.tier(label).score for label, share in shares.items())
    best = max(shares, key=lambda label: shares[label])
    spread = ", ".join(f"{label} {share:.2f}" for label, share in shares.items())
    return Scored(tier=best, score=score, rationale=spread)


def _labels_in(text: str, labels: tuple[str, ...]) -> set[str]:
    text = text.casefold()
    return {label for label in labels if re.search(_spelt(label), text)}


@cache
def _spelt(label: str) -> str:
    return rf"(?<![a-z0-9_]){label.replace('_', '[_ -]')}(?![a-z0-9_])"


def option_shares(
    reply: Reply, said: set[str], option_of: Callable[[str], str | None]
) -> dict[str, float]:
    """How the probability is shared among options, at the first token that says anything."""
    if reply.logprobs is None:
        raise Faulty(FaultCause.NO_LOGPROBS, "the reply holds no log-probs")
    if len(said) > 1:
        raise Faulty(FaultCause.SEVERAL_VERDICTS, f"more than one option: {reply.text[:40]!r}")
    nothing: tuple[str, dict[str, float]] = ("", {})
    token, top = next((each for each in reply.logprobs if any(map(str.isalnum, each[0]))), nothing)
    masses: defaultdict[str, float] = defaultdict(float)
    for other, logprob in top.items():
        if not logprob <= 1e-6:
            raise Faulty(FaultCause.BAD_REPLY, f"{other!r} has the log-prob {logprob}")
        if option := option_of(_without_marks(other)):
            masses[option] += math.exp(logprob)
    mass = sum(masses.values())
    if not SURE <= mass <= 1.01:
        raise Faulty(
            FaultCause.UNSURE,
            f"the options hold {mass:.3f} of the probability; it begins {reply.text[:40]!r}",
        )
    if not said | ({option_of(_without_marks(token))} - {None}) <= masses.keys():
        raise Faulty(FaultCause.BAD_REPLY, f"it says {reply.text[:40]!r}, its log-probs do not")
    return {option: p / mass for option, p in masses.items()}


def _without_marks(token: str) -> str:
    return token.strip(" \n\t*()[]\".:'`▁Ġ")


def _known_tier(said: object, rubric: Rubric) -> Tier:
    label = _label(said) if isinstance(said, str) else None
    if label not in rubric.labels:
        raise Faulty(
            FaultCause.UNKNOWN_TIER, f"tier {said!r} is not one of {', '.join(rubric.labels)}"
        )
    return rubric.tier(label)


_MARKS = " \t\n\"'“”‘’「」`*_#.。,，;；!！()（）[]【】"
"""The markup and punctuation that may stand around a label."""


def _label(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip().casefold())


def _is_score(said: object, score: float) -> bool:
    try:
        return not isinstance(said, bool) and math.isclose(float(str(said)), score)
    except ValueError:
        return False
