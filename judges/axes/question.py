"""What a judge is told of an answer to rate, and what its reply means.

All that others wrote stands in one JSON object, whose strings no text can end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import cast

from judges.axes.axes import HIGHEST, LOWEST, Axes
from judges.client.wire import Json, Reply
from judges.rubric.prompt import Asked, Prompt, neutralise
from judges.rubric.reply import the_object_with
from judges.verdict import FaultCause, Faulty, JudgeRequest, Scored

RATINGS = [*range(LOWEST, HIGHEST + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated(Scored):
    """Its score is the mean of its ratings."""

    ratings: dict[str, int] = field(default_factory=dict[str, int])


def ratings_schema(axes: Axes) -> Json:
    """The rationale comes first, so that the ratings follow from it."""
    rating = {"type": "integer", "enum": RATINGS}
    properties: Json = {"rationale": {"type": "string"}, **dict.fromkeys(axes.names, rating)}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def rating_prompt(request: JudgeRequest, axes: Axes) -> Prompt:
    words = axes.words_in(request.lang)
    meanings = "\n".join(f"- {name}: {axes.meaning(name, request.lang)}" for name in axes.names)
    shown = {"question": neutralise(request.question)}
    shown |= {"reference": neutralise(request.truth)} if request.truth else {}
    shown |= {"answer": neutralise(request.answer)}
    wanted = [f'"rationale": "<{words["rationale"]}>"']
    wanted += [f'"{name}": <{LOWEST} to {HIGHEST}>' for name in axes.names]
    closing = words["reply"].replace("{example}", f"{{{', '.join(wanted)}}}")
    return Prompt(
        system=f"{words['task']}\n\n{meanings}\n\n{words['untrusted']}",
        user=f"{json.dumps(shown, ensure_ascii=False)}\n\n{closing}",
    )


def read_ratings(reply: Reply, axes: Axes) -> Rated:
    said = the_object_with(axes.names[0], reply)
    ratings = {name: _rating(name, said, reply) for name in axes.names}
    return Rated(
        tier="rated",
        score=sum(ratings.values()) / len(ratings),
        rationale=str(said.get("rationale", "")),
        ratings=ratings,
    )


def read_rated(user: str) -> Asked | None:
    """The inverse of the prompt: what is to be rated; None if it asks for something else."""
    try:
        shown: object = json.loads(user.partition("\n\n")[0])
    except ValueError:
        return None
    if not isinstance(shown, dict) or not {"question", "answer"} <= shown.keys():
        return None
    texts = cast(dict[str, str], shown)
    return Asked(
        question=texts["question"],
        truth=texts.get("reference", ""),
        aliases=(),
        answer=texts["answer"],
    )


def _rating(name: str, said: Json, reply: Reply) -> int:
    if name not in said:
        raise Faulty(FaultCause.NO_VERDICT, f"no {name!r} in {reply.text[:160]!r}")
    for rating in RATINGS:
        if not isinstance(said[name], bool) and str(said[name]).strip() in (
            str(rating),
            f"{rating}.0",
        ):
            return rating
    raise Faulty(
        FaultCause.BAD_SCORE,
        f"{name} is {said[name]!r}: it must be a whole number from {LOWEST} to {HIGHEST}",
    )
