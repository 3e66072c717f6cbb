"""A ladder: the tiers as plain questions, the best first, each answered yes or no.

A small judge that is asked one plain thing tells right from wrong better than one that chooses
among tiers. Yes at a rung is its tier, no leads to the next, and the last tier is what is left. The
question stands last, so that the next rung's prompt begins with the same bytes.

The texts are quoted as JSON strings: no text ends its own quotation, and models know what it means.
No sentence says that they are untrusted: a small model's yes moves to the middle by it, for right
answers and attacks alike. What keeps attacks out is the line-up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain, repeat
from math import prod

from judges.client.wire import Json, Reply
from judges.config import Grading
from judges.rubric.prompt import Asked, Prompt, encodable, neutralise, one_line
from judges.rubric.reply import option_shares, the_object_with
from judges.rubric.rubric import Rubric, Tier
from judges.verdict import FaultCause, Faulty, JudgeRequest, Scored

YES, NO = "yes", "no"
MEANS: dict[str, str] = {
    **dict.fromkeys(("yes", "是", "是的", "对"), YES),
    **dict.fromkeys(("no", "不是", "不", "不对", "否"), NO),
}
CLEAR = 0.05
"""What is left open is not asked where it could move the score by no more of the rubric's range."""
LADDER_SCHEMA: Json = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": [YES, NO, "是", "不是"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
_WORD = re.compile(r"(?<![a-z])(?:yes|no)(?![a-z])|是的|不[是对]|[是否对不]")
_PLACE = re.compile(r"\{(question|truth|response|ask)\}")
_OR = " / "
_BEFORE_A_BAR = re.compile(r"[\s<]+/")
_IN_JSON = ' JSON: {"answer": "..."}'


def ladder_prompt(
    request: JudgeRequest, rubric: Rubric, tier: Tier, grading: Grading, *, defences: bool
) -> Prompt:
    rubric = rubric.in_language(request.lang)
    words = rubric.template
    said = _quoted(request.answer) if defences else f'"{encodable(request.answer)}"'
    filled = {
        "question": _quoted(request.question),
        "truth": _quoted(_OR.join(map(_form, request.accepted))),
        "response": said,
        "ask": _asked_for(rubric.tier(tier.label), rubric),
    }
    user = _PLACE.sub(lambda place: filled[place[1]], words.ladder)
    how = "" if grading == "labels" else _IN_JSON
    return Prompt(system=rubric.task, user=user + how)


def _quoted(text: str) -> str:
    return json.dumps(neutralise(text), ensure_ascii=False)


def _form(text: str) -> str:
    """No bar of its own may look like the one between two forms, once it is made harmless."""
    return _BEFORE_A_BAR.sub("/", one_line(text))


def _asked_for(tier: Tier, rubric: Rubric) -> str:
    return tier.ask or rubric.template.generated.replace("{meaning}", tier.meaning)


def yes_share(reply: Reply) -> float:
    """How surely the judge says yes: a probability, or 0 or 1 where there are none."""
    said = {MEANS[word] for word in _WORD.findall(reply.text.casefold())}
    if reply.logprobs is not None:
        return option_shares(reply, said, lambda token: MEANS.get(token.casefold())).get(YES, 0.0)
    word: object = reply.text.strip(" \n\"'`*().。").casefold()
    if reply.truncated or word not in MEANS:
        word = the_object_with("answer", reply)["answer"]
    if not isinstance(word, str) or (word := word.casefold()) not in MEANS:
        raise Faulty(FaultCause.NO_VERDICT, f"neither yes nor no in {reply.text[:160]!r}")
    return float(MEANS[word] == YES)


def is_open(shares: Sequence[float], rubric: Rubric) -> bool:
    """Whether what the next rung says may move the score."""
    scores = [tier.score for tier in rubric.tiers]
    left = scores[len(shares) :]
    open_share = prod(1 - share for share in shares)
    return open_share * (max(left) - min(left)) > CLEAR * (max(scores) - min(scores))


def read_off(shares: Sequence[float], rubric: Rubric) -> Scored:
    """The expected score over the tiers, by what was said at each rung; the rest may be either."""
    *rungs, last = rubric.tiers
    spread: dict[str, float] = {}
    left = 1.0
    for tier, share in zip(rungs, chain(shares, repeat(0.5)), strict=False):
        spread[tier.label] = left * share
        left *= 1 - share
    spread[last.label] = left
    return Scored(
        tier=max(spread, key=lambda label: spread[label]),
        score=sum(share * rubric.tier(label).score for label, share in spread.items()),
        rationale=", ".join(f"{label} {share:.2f}" for label, share in spread.items()),
    )


def read_ladder(user: str, rubric: Rubric) -> tuple[Asked, Tier] | None:
    """The inverse of the prompt: what is judged, and the tier asked for; None if it is no rung."""
    for own in (rubric, *rubric.siblings.values()):
        places = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.*?)", re.escape(own.template.ladder))
        found = re.fullmatch(places, user.removesuffix(_IN_JSON), re.DOTALL)
        if found is None:
            continue
        tiers = [tier for tier in own.tiers if _asked_for(tier, own) == found["ask"]]
        if tiers:
            truth, *aliases = _unquoted(found["truth"]).split(_OR)
            asked = Asked(
                question=_unquoted(found["question"]),
                truth=truth,
                aliases=tuple(aliases),
                answer=_unquoted(found["response"]),
            )
            return asked, tiers[0]
    return None


def _unquoted(text: str) -> str:
    try:
        return json.loads(text)
    except ValueError:  # it was not escaped, without defences
        return text[1:-1]
