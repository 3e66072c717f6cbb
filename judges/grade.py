"""From a judge's reply to a verdict, or a named fault. Never a guess.

Exactly one clear verdict is a score. Two, even when they agree, a tier the rubric does not have,
or a number beside it that is not the tier's: faults. How the reply is dressed (fences, prose around
it, trailing commas, full-width quotes) makes no difference as long as that stays clear.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from judges.rubric import Rubric, Tier
from judges.verdict import FaultCause, Faulty
from judges.wire import Json, Reply
from rewards.split import split_text

KEYS = ("tier", "等级")
SURE = 0.5
"""Least share of the probability that the options must hold together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    tier: str
    score: float
    rationale: str = ""


def verdict_schema(rubric: Rubric) -> Json:
    """The rationale comes first, so that the tier follows from it and not the reverse."""
    return {
        "type": "object",
        "properties": {
            "rationale": {"type": "string"},
            "tier": {"type": "string", "enum": list(rubric.labels)},
        },
        "required": ["rationale", "tier"],
        "additionalProperties": False,
    }


CLAIMS_SCHEMA: Json = {
    "type": "object",
    "properties": {"claims": {"type": "array", "items": {"type": "string"}}},
    "required": ["claims"],
    "additionalProperties": False,
}


def read_claims(reply: Reply) -> str:
    """What a judge commits to look for, a claim a line."""
    objects, _ = json_objects(without_reasoning(reply.text))
    claims = dict(objects[0]).get("claims") if len(objects) == 1 else None
    lines = [str(claim) for claim in cast(list[object], claims)] if isinstance(claims, list) else []
    if reply.truncated or not lines:
        raise Faulty(FaultCause.NO_VERDICT, f"no claims in {reply.text[:160]!r}", reply.usage)
    return "\n".join(lines)


def grade_reply(reply: Reply, rubric: Rubric) -> Graded:
    if reply.truncated:
        raise Faulty(FaultCause.TRUNCATED, f"ran out of tokens: ...{reply.text[-80:]!r}")
    text = without_reasoning(reply.text)
    if not text:
        raise Faulty(FaultCause.EMPTY, "the reply is empty")
    verdict = _one_verdict(text, rubric.labels)
    tier = _known_tier(verdict.tier, rubric)
    if verdict.score is not None and not _is_score(verdict.score, tier.score):
        raise Faulty(
            FaultCause.BAD_SCORE, f"tier {tier.label} is {tier.score}, not {verdict.score!r}"
        )
    return Graded(tier=tier.label, score=tier.score, rationale=verdict.rationale)


def letter_shares(reply: Reply, letters: str) -> dict[str, float]:
    """How the probability is shared among single letters."""
    said = set(re.findall(rf"\b[{letters}]\b", reply.text))
    return _shares(reply, said, lambda token: token if token in (*letters,) else None)


def grade_logprobs(reply: Reply, rubric: Rubric) -> Graded:
    """The expected score over the tiers, by the word that the judge begins."""

    def tier_begun(token: str) -> str | None:
        begun = _label(token)
        tiers = [label for label in rubric.labels if begun and label.startswith(begun)]
        return tiers[0] if len(tiers) == 1 else None

    shares = _shares(reply, _labels_in(reply.text, rubric.labels), tier_begun)
    score = sum(share * rubric.tier(label).score for label, share in shares.items())
    best = max(shares, key=lambda label: shares[label])
    spread = ", ".join(f"{label} {share:.2f}" for label, share in shares.items())
    return Graded(tier=best, score=score, rationale=spread)


def _labels_in(text: str, labels: tuple[str, ...]) -> set[str]:
    text = text.casefold()
    return {label for label in labels if re.search(_spelt(label), text)}


@cache
def _spelt(label: str) -> str:
    return rf"(?<![a-z0-9_]){label.replace('_', '[_ -]')}(?![a-z0-9_])"


def _shares(
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


_FAMILIES = ("think", "mistral", "harmony", "gemma")
_THINK = re.compile(r"<(/?)(?:thinking|reasoning)>")


def without_reasoning(text: str) -> str:
    """A judge may think aloud before its verdict. What it thinks is not its verdict."""
    if text.startswith("{"):
        return text.strip()
    text = _THINK.sub(r"<\1think>", text)
    for family in _FAMILIES:
        split = split_text(text, opened=False, finish_reason="stop", family=family)
        if split.status == "unclosed":
            raise Faulty(FaultCause.TRUNCATED, "the judge's reasoning never ends")
        text = split.answer
    if text.startswith(("{", "`")):
        return text
    for family in _FAMILIES:
        split = split_text(text, opened=True, finish_reason="stop", family=family)
        # The template had opened it, unless a verdict stands before what would then be its end.
        if split.status != "unclosed" and not _has_verdict(split.reasoning):
            return split.answer
    return text


def _has_verdict(text: str) -> bool:
    objects, _ = json_objects(text)
    return bool(_MENTION.match(text)) or any(True for o in objects for _ in _verdicts_in(o))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    tier: object
    rationale: str = ""
    score: object = None


_QUOTE = r"[\"'“”‘’「」`*_]{0,4}"
_MENTION = re.compile(
    rf"(?<![\w/]){_QUOTE}(?:{'|'.join(KEYS)}){_QUOTE}\s*[:：=>]",
    re.IGNORECASE,
)
# What may stand on its line before a verdict in prose. Anything else may deny it or quote it.
_LEAD_IN = re.compile(
    r"[\s<>*#_`|-]*((so|thus|therefore|hence|final|overall|my|the|this|is|verdict|grade|grading|"
    r"conclusion|in|i|give|choose|pick|select|best|最终|综上|所述|因此|所以|我的|我|评定|判定|结论|给出|选择|"
    r"为|是)[\s,.:，。：*_]*)*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"(i['’]?m sorry|i am sorry|sorry|i can(no|['’])?t|i['’]?m (unable|not able)|i (will|must) not|"
    r"as an ai|抱歉|对不起|很抱歉|我无法|我不能|作为(一个|一名)?(ai|人工智能))",
    re.IGNORECASE,
)
_UNESCAPED = re.compile(
    r'\{\s*"rationale"\s*:.*,\s*"tier"\s*:\s*"(?P<tier>[^"]*)"\s*\}[\s`]*$', re.DOTALL
)


def _one_verdict(text: str, labels: tuple[str, ...]) -> _Said:
    objects, rest = json_objects(text)
    said = [verdict for found in objects for verdict in _verdicts_in(found)]
    mentions = list(_MENTION.finditer(rest))
    if (count := len(said) + len(mentions)) > 1:
        raise Faulty(FaultCause.SEVERAL_VERDICTS, f"{count} verdicts in {text[:160]!r}")
    if said:
        if after := text.rpartition("}")[2]:
            _refuse_another(after, said[0].tier, labels)
        return said[0]
    if "{" in rest:
        # Quotes inside the rationale that were not escaped break the JSON and hide nothing: there
        # is one pair of braces and one tier, at the end.
        if rest.count("{") == 1 == rest.count("}") and (match := _UNESCAPED.search(rest)):
            return _Said(tier=match["tier"])
        raise Faulty(FaultCause.NO_VERDICT, f"its JSON is broken: {text[:160]!r}")
    if mentions:
        line, _, after = rest[mentions[0].end() :].lstrip().partition("\n")
        *above, before = rest[: mentions[0].start()].rstrip(" \t").split("\n")
        introduced = next((line for line in reversed(above) if line.strip()), "")
        quoted = introduced.rstrip().endswith((":", "："))
        if not _LEAD_IN.fullmatch(before) or (quoted and not _LEAD_IN.fullmatch(introduced)):
            raise Faulty(FaultCause.NO_VERDICT, f"a verdict, or words about one: {text[:160]!r}")
        for further in after.split("\n"):
            if _label(_bare(further)) in labels:
                _refuse_another(further, _bare(line), labels)
        return _Said(tier=_bare(line))
    if _label(_bare(text)) in labels:
        return _Said(tier=_bare(text))
    if _REFUSAL.match(text):
        raise Faulty(FaultCause.REFUSED, text[:160])
    raise Faulty(FaultCause.NO_VERDICT, f"no verdict in {text[:160]!r}")


def _refuse_another(text: str, tier: object, labels: tuple[str, ...]) -> None:
    """What stands after a verdict may take it back: then the verdict was a quotation."""
    mine = _label(tier) if isinstance(tier, str) else ""
    if others := sorted(_labels_in(text, labels) - {mine}):
        said = f"{mine}, then {', '.join(others)}: {text[:160]!r}"
        raise Faulty(FaultCause.SEVERAL_VERDICTS, said)


def _known_tier(said: object, rubric: Rubric) -> Tier:
    label = _label(said) if isinstance(said, str) else None
    if label not in rubric.labels:
        raise Faulty(
            FaultCause.UNKNOWN_TIER, f"tier {said!r} is not one of {', '.join(rubric.labels)}"
        )
    return rubric.tier(label)


def _label(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip().casefold())


def _bare(text: str) -> str:
    """Without the markup and punctuation around it."""
    return re.sub(r"</?\w+>", "", text).strip(" \t\n\"'“”‘’「」`*_#.。,，;；!！()（）[]【】")


def _is_score(said: object, score: float) -> bool:
    try:
        return not isinstance(said, bool) and math.isclose(float(str(said)), score)
    except ValueError:
        return False


class JsonPairs(list[tuple[str, Any]]):
    """A JSON object that keeps a key that is there twice."""


_DECODER = json.JSONDecoder(object_pairs_hook=JsonPairs, strict=False)


def json_objects(text: str) -> tuple[list[JsonPairs], str]:
    """The outermost JSON objects, and the text that is in none of them.

    A brace that opens nothing readable ends the search: what follows may be a quotation.
    """
    found: list[JsonPairs] = []
    rest: list[str] = []
    at = 0
    while (start := text.find("{", at)) >= 0:
        rest.append(text[at:start])
        try:
            value, end = _DECODER.raw_decode(text, start)
        except ValueError:
            mended = text[:start] + _mended(text[start:])
            try:
                value, end = _DECODER.raw_decode(mended, start)
            except (ValueError, RecursionError):
                at = start
                break
            text = mended
        except RecursionError:
            at = start
            break
        found.append(value)
        at = end
    return found, "".join([*rest, text[at:]])


_STRING = re.compile(r'("(?:[^"\\]|\\.)*")', re.DOTALL)


def _mended(text: str) -> str:
    """The slips that change no meaning: other quotes, full-width marks, bare keys, spare commas."""
    if '"' not in text:
        text = re.sub("[“”„‟]", '"', text)
        text = re.sub(r"(?<=[{,\[:])(\s*)'|'(?=\s*[:,}\]])", r'\1"', text)
    parts = _STRING.split(text)
    for i in range(0, len(parts), 2):  # every second part is outside the strings
        part = parts[i].replace("：", ":").replace("，", ",")
        part = re.sub(r"(?<=[{,])(\s*)([A-Za-z_]+)(?=\s*:)", r'\1"\2"', part)
        parts[i] = re.sub(r",(\s*[}\]])", r"\1", part)
    return "".join(parts)


def _verdicts_in(value: object) -> Iterator[_Said]:
    if isinstance(value, JsonPairs):
        fields = {key.strip().casefold(): item for key, item in value}
        rationale = str(fields.get("rationale", fields.get("理由", "")))
        for key, item in value:
            if key.strip().casefold() in KEYS:
                yield _Said(tier=item, rationale=rationale, score=fields.get("score"))
            yield from _verdicts_in(item)
    elif isinstance(value, list):
        for item in cast(list[object], value):
            yield from _verdicts_in(item)
