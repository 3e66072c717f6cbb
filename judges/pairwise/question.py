"""What a judge is asked of two answers, and what its reply means.

Nothing says whose an answer is. Each is quoted as a JSON string, which no text can end.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from judges.client.wire import Json, Reply
from judges.config import Grading
from judges.rubric.prompt import Prompt, neutralise
from judges.rubric.reply import letter_shares, the_object_with
from judges.verdict import FaultCause, Faulty, JudgeRequest

WORDING = Path(__file__).parent / "wording.toml"
WORTH = {"A": 1.0, "B": 0.0, "C": 0.5}
"""What each letter is worth to the answer that stands first."""
PAIR_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        "better": {"type": "string", "enum": list(WORTH)},
    },
    "required": ["rationale", "better"],
    "additionalProperties": False,
}


@cache
def wording() -> Mapping[str, Mapping[str, str]]:
    tables = tomllib.loads(WORDING.read_text(encoding="utf-8"))
    return {
        lang: {name: text.strip() for name, text in words.items()} for lang, words in tables.items()
    }


def name_of_wording() -> str:
    """For the ledger."""
    return f"pair {hashlib.sha256(repr(wording()).encode()).hexdigest()[:16]}"


def pair_of(
    question: str, truth: str, *, first: str, second: str, lang: str = "en"
) -> JudgeRequest:
    """Both answers as one, as the judge sees them. The truth may be empty."""
    answers = _filled(_words(lang)["answers"], first=_quoted(first), second=_quoted(second))
    return JudgeRequest(question=question, truth=truth, answer=answers, lang=lang)


def pair_prompt(pair: JudgeRequest, grading: Grading) -> Prompt:
    words = _words(pair.lang)
    parts = [_filled(words["question"], question=_quoted(pair.question))]
    parts += [_filled(words["truth"], truth=_quoted(pair.truth))] if pair.truth else []
    closing = words["labels" if grading == "labels" else "schema"]
    return Prompt(
        system=f"{words['task']}\n\n{words['untrusted']}",
        user="\n".join([*parts, pair.answer, "", closing]),
    )


def first_share(reply: Reply) -> float:
    """How surely the first answer is the better one: 1 it is, 0 the second, 0.5 neither."""
    if reply.logprobs is not None:
        return sum(
            share * WORTH[letter] for letter, share in letter_shares(reply, "".join(WORTH)).items()
        )
    said: object = reply.text.strip(" \n\"'`*().")
    if reply.truncated or said not in WORTH:
        said = the_object_with("better", reply)["better"]
    if not isinstance(said, str) or said.strip().upper() not in WORTH:
        raise Faulty(FaultCause.NO_VERDICT, f"neither A, B nor C in {reply.text[:160]!r}")
    return WORTH[said.strip().upper()]


def read_pair(user: str) -> dict[str, str] | None:
    """The inverse of the prompt: question, truth, first and second; None if it is no pair."""
    for words in wording().values():
        lines = [words["question"], f"(?:{_groups(words['truth'])}\n)?", words["answers"], "\n"]
        question, truth, answers, _ = lines
        found = re.match(f"{_groups(question)}\n{truth}{_groups(answers)}\n\n", user)
        if found:
            return {
                name: json.loads(text) if text else "" for name, text in found.groupdict().items()
            }
    return None


def _groups(words: str) -> str:
    return re.sub(r"\\\{(\w+)\\\}", r'(?P<\1>".*")', re.escape(words))


def _words(lang: str) -> Mapping[str, str]:
    return wording().get(lang, wording()["en"])


def _quoted(text: str) -> str:
    return json.dumps(neutralise(text), ensure_ascii=False)


def _filled(words: str, **texts: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda place: texts[place[1]], words)
