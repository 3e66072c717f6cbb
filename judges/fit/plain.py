"""The plain question: a judge asked in one line, without rubric, examples or defences.

Whatever a way of asking adds, it should tell right from wrong no worse than this.
"""

from __future__ import annotations

import hashlib
import re

from judges.client.wire import Ask
from judges.config import Grading
from judges.rubric.ladder import LADDER_SCHEMA
from judges.rubric.prompt import Asked, Prompt, encodable
from judges.verdict import JudgeRequest

WORDS = {
    "en": (
        "Question: {question}\nReference answer: {truth}\nAnswer: {answer}\n"
        "Is the answer right? yes or no"
    ),
    "zh": "问题：{question}\n参考答案：{truth}\n回答：{answer}\n回答正确吗？是或不是",
}
NAME = f"plain {hashlib.sha256(repr(WORDS).encode()).hexdigest()[:16]}"
"""For the ledger."""
IN_JSON = ' JSON: {"answer": "..."}'
_PLACE = re.compile(r"\{(question|truth|answer)\}")
_READ = [
    re.compile(
        re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.*)", re.escape(words)) + f"(?:{re.escape(IN_JSON)})?",
        re.DOTALL,
    )
    for words in WORDS.values()
]


def plain_ask(request: JudgeRequest, key: str, max_tokens: int) -> Ask:
    words = WORDS.get(request.lang, WORDS["en"])
    filled = {
        "question": encodable(request.question),
        "truth": encodable(" / ".join(request.accepted)),
        "answer": encodable(request.answer),
    }
    user = _PLACE.sub(lambda place: filled[place[1]], words)

    def prompt(grading: Grading) -> Prompt:
        return Prompt(system="", user=user + (IN_JSON if grading == "schema" else ""))

    return Ask(key=key, request=request, prompt=prompt, schema=LADDER_SCHEMA, max_tokens=max_tokens)


def read_plain(user: str) -> Asked | None:
    """The inverse; None if it is another question."""
    found = next(filter(None, (pattern.fullmatch(user) for pattern in _READ)), None)
    if found is None:
        return None
    truth, *aliases = found["truth"].split(" / ")
    return Asked(
        question=found["question"], truth=truth, aliases=tuple(aliases), answer=found["answer"]
    )
