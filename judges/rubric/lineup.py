"""A line-up: does the answer say the truth, or only that it is right?

A judge that knows which text is the truth can be told that an answer states it. Here it does not
know: it sees the answer alone, without the question, and says which entry of a list it states. One
entry is the truth; the others have nothing to do with it. Who asks for a grade, claims authority or
says nothing picks no entry, for there is none that such an answer could mean.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from judges.client.wire import Json, Reply
from judges.config import Grading
from judges.rubric.prompt import Prompt, neutralise, one_line
from judges.rubric.reply import letter_shares, the_object_with
from judges.rubric.rubric import Rubric, Tier
from judges.rubric.words import says, says_any, words_of
from judges.verdict import FaultCause, Faulty, JudgeRequest

LETTERS = string.ascii_uppercase
ROUNDS = 2
"""Line-ups for an answer, with other strangers and the truth in another place: small judges favour
some letters."""
DECOYS = 2
PICKED = 0.5
"""The answer states the truth if its letter's probability is above this in every line-up. A guess,
or a judge that always names one letter, may be lucky in one."""
ECHO_WORDS = 3
"""So many words on end that are in the question too are the question's, not the answer's."""
A_TRACE = 0.01
"""An expectation over tiers that earns less than this earns nothing."""
WORDING = Path(__file__).parent / "lineup.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    text: str
    entries: list[str]
    states: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    task: str
    none: str
    decoys: Mapping[str, tuple[str, ...]]
    """By language."""
    examples: tuple[Example, ...]
    sha: str

    def decoys_in(self, lang: str) -> tuple[str, ...]:
        return self.decoys.get(lang, self.decoys["en"])


@cache
def wording() -> Wording:
    raw = WORDING.read_bytes()
    data = tomllib.loads(raw.decode("utf-8"))
    return Wording(
        task=data["task"].strip(),
        none=data["none"],
        decoys={lang: tuple(decoys) for lang, decoys in data["decoys"].items()},
        examples=tuple(Example(**example) for example in data["examples"]),
        sha=hashlib.sha256(raw).hexdigest()[:16],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineup:
    entries: Mapping[str, str]
    """By letter."""
    truth: str
    """Its letter."""

    @property
    def name(self) -> str:
        """For the ledger: a letter means nothing without the list it was picked from."""
        shown = chr(0).join(("".join(self.entries), *self.entries.values()))
        return f"line-up {hashlib.sha256(shown.encode()).hexdigest()[:16]}"


def line_up(request: JudgeRequest, number: int) -> Lineup:
    """The same for the same request, so that a recorded reply keeps its meaning."""
    seed = "\0".join((request.question, *request.accepted, request.answer))
    rng = random.Random(hashlib.sha256(seed.encode("utf-8", "replace")).digest())
    truth = _nearest(request)
    said = set(words_of(" ".join((request.answer, *request.accepted))).words)
    decoys = wording().decoys_in(request.lang)
    strangers = [decoy for decoy in decoys if not said & _decoy_words(decoy)]
    if len(strangers) < ROUNDS * DECOYS:  # an answer that names them all is still to be told apart
        strangers = [decoy for decoy in decoys if decoy not in truth]
    places = rng.sample(range(DECOYS + 1), ROUNDS)
    rng.shuffle(strangers)
    entries = strangers[number * DECOYS :][:DECOYS]
    if truth.isupper():
        entries = [entry.upper() for entry in entries]
    entries.insert(places[number], truth)
    entries.append(wording().none)
    letters = _unsaid_letters(request, len(entries))
    by_letter = dict(zip(letters, entries, strict=True))
    return Lineup(entries=by_letter, truth=letters[places[number]])


@cache
def _decoy_words(decoy: str) -> frozenset[str]:
    return frozenset(words_of(decoy).words)


def _unsaid_letters(request: JudgeRequest, count: int) -> str:
    """Who says no more than A has not picked entry A. Vitamin A may be what the truth is."""
    said = _lone_letters(request.answer) - _lone_letters(" ".join(request.accepted))
    runs = (LETTERS[i : i + count] for i in range(len(LETTERS) - count + 1))
    return next((run for run in runs if not said & {*run}), LETTERS[:count])


def _lone_letters(text: str) -> set[str]:
    return set(re.findall(r"(?<![A-Z])[A-Z](?![A-Z])", text.upper()))


def lineup_prompt(request: JudgeRequest, lineup: Lineup, grading: Grading, fence: str) -> Prompt:
    words = wording()
    shots: list[tuple[str, str]] = []
    for number, example in enumerate(words.examples):
        entries = dict(zip(LETTERS, (*example.entries, words.none), strict=False))
        (letter,) = (at for at, entry in entries.items() if entry == (example.states or words.none))
        shown = _shown(example.text, entries, hashlib.sha256(bytes([number])).hexdigest()[:8])
        shots.append((shown, letter if grading == "labels" else json.dumps({"entry": letter})))
    how = "" if grading == "labels" else ' Reply in JSON: {"entry": "<letter>"}'
    return Prompt(
        system=words.task + how,
        shots=tuple(shots),
        user=_shown(neutralise(_beyond_the_question(request)), lineup.entries, fence),
    )


def lineup_schema(lineup: Lineup) -> Json:
    return {
        "type": "object",
        "properties": {"entry": {"type": "string", "enum": list(lineup.entries)}},
        "required": ["entry"],
        "additionalProperties": False,
    }


def truth_share(reply: Reply, lineup: Lineup) -> float:
    """How surely the judge picked the truth: a probability, or 0 or 1 where there are none."""
    if reply.logprobs is not None:
        return letter_shares(reply, "".join(lineup.entries)).get(lineup.truth, 0.0)
    letters = list(lineup.entries)
    picked: object = reply.text.strip(" \n\"'`*().")
    if reply.truncated or picked not in letters:
        picked = the_object_with("entry", reply)["entry"]
    if picked not in letters:
        raise Faulty(FaultCause.NO_VERDICT, f"no entry of the line-up in {reply.text[:160]!r}")
    return float(picked == lineup.truth)


def _nearest(request: JudgeRequest) -> str:
    """One accepted form, the one whose words are best found in the answer; the truth if none is.

    Several in one entry would make it stand out from the strangers.
    """
    said = set(words_of(request.answer).words)

    def found(form: str) -> float:
        words = words_of(form).words
        return sum(word in said for word in words) / max(len(words), 1)

    return one_line(max(request.accepted, key=found))


def anything_said(request: JudgeRequest) -> bool:
    return any(character.isalnum() for character in neutralise(_beyond_the_question(request)))


def _beyond_the_question(request: JudgeRequest) -> str:
    """The answer without what it repeats of the question, for a question names its own answer.

    An answer that says the truth word for word is left as it is.
    """
    if says_any(request.answer, request.accepted):
        return request.answer
    words = list(_WORD.finditer(request.answer))
    asked = [match[0].casefold() for match in _WORD.finditer(request.question)]
    runs = {tuple(asked[i : i + ECHO_WORDS]) for i in range(len(asked) - ECHO_WORDS + 1)}
    echoed = [
        range(i, i + ECHO_WORDS)
        for i in range(len(words) - ECHO_WORDS + 1)
        if tuple(match[0].casefold() for match in words[i : i + ECHO_WORDS]) in runs
    ]
    kept: list[str] = []
    at = 0
    for i in sorted({i for run in echoed for i in run}):
        kept += [request.answer[at : words[i].start()], "..."]
        at = words[i].end()
    return re.sub(r"\.\.\.(\s*\.\.\.)+", "...", "".join([*kept, request.answer[at:]]))


def unpaid(rubric: Rubric) -> Tier:
    """The best tier that earns nothing: what an answer is worth, at most, without the truth."""
    by_score = sorted(rubric.tiers, key=lambda tier: tier.score)
    return next((tier for tier in reversed(by_score) if tier.score <= 0), by_score[0])


def _shown(text: str, entries: Mapping[str, str], fence: str) -> str:
    listed = "\n".join(f"{letter}. {entry}" for letter, entry in entries.items())
    return f"[[text {fence}]]\n{text}\n[[/text {fence}]]\n{listed}"


_WORD = re.compile(r"[㐀-䶿一-鿿]|[^\W_㐀-䶿一-鿿]+")
_LINEUP = re.compile(
    r"\[\[text (?P<fence>[0-9a-f]+)\]\]\n(?P<text>.*)\n\[\[/text (?P=fence)\]\]\n(?P<list>.*)",
    re.DOTALL,
)


def read_lineup(user: str) -> tuple[str, dict[str, str]] | None:
    """The inverse of the prompt: the text, and entries by letter; None if it is no line-up."""
    match = _LINEUP.fullmatch(user)
    return match and (match["text"], {line[0]: line[3:] for line in match["list"].split("\n")})


def stated(text: str, entries: Mapping[str, str]) -> str:
    """By rule: the letter of the one entry whose words are in the text; else the last."""
    said = words_of(text)
    found = [letter for letter, entry in entries.items() if says(said, entry)]
    return found[0] if len(found) == 1 else [*entries][-1]
