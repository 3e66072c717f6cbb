"""A judge without a model: grades a short answer by rule, deterministically, thousands a second.

What it finds, best first:

    same         the answer is the truth or an alias, or a short answer that says it and no other
    reasonable   a longer answer that says it
    contradicts  it names another known answer of the same kind, denies the truth, or lists guesses
    off_domain   none of these
    incoherent   empty, repeating itself, or not language

It compares words, so it cannot see that a fluent sentence is false, nor accept a synonym it was not
told. It is here so that training, tests and newcomers have a real judge to talk to without a key.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from judges.commands.jsonl import Row, read_jsonl, texts_of
from judges.rubric.words import Words, holds, words_of

SHORT_WORDS = 12
"""Up to here an answer is concise: every Han character counts as a word, so Chinese gets double."""
GUESSES = 2
"""The truth beside this many other known answers is a list of guesses, not an answer."""


def _phrases(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(phrase.split()) for phrase in text.split("|"))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DENIED_AFTER = _phrases(
    "not|never|neither|nor|rather than|instead of|unlike|except|"
    "不 是|不 会 是|不 可 能 是|并 非|而 非|绝 非|没 有|不 属 于|不 包 括|不 由"
)
_DENIED_BEFORE = _phrases(
    "is not answer|is not correct|is not cause|is not right|is not it|is not one|is wrong|"
    "is incorrect|is false|不 是 答 案|不 正 确|不 对|是 错"
)
# What may stand between a denial and what it denies: "not caused by X" denies X, while "not only X"
# and "not enough X" do not.
_LINKS = _words("caused by due to because of from related called likely as 由 因 为")
_FUNCTION_WORDS = _words(
    "a an the of is are was be to in and or by it that this as for with on from which can has have "
    "at not their they its you your 的 是 在 了 和 有 为 因 不 与 或 由 会 可 能 以 中 等 及 使"
)


_CHAT_TAG = re.compile(r"<\s?[|｜]|[|｜]\s?>")
_GARBLED = re.compile("\ufffd|[\u00c2\u00c3\u00e2-\u00e9][\u0080-\u00bf\u20ac\u2039\u203a]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    rule: str
    why: str


Form = tuple[str, ...]


Index = Mapping[str, tuple[Form, ...]]
"""Forms by their first word, longest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What else one could have answered: every form of it, and which answer it is a form of."""

    index: Index
    answer_of: Mapping[Form, int]


class Known:
    """Answers known to be possible, by kind, so that a wrong one can be told from no answer."""

    def __init__(self, rows: Iterable[tuple[str, tuple[str, ...], str]] = ()) -> None:
        self._answers: dict[str, list[frozenset[Form]]] = {}
        for answer, aliases, kind in rows:
            if forms := _forms(answer, aliases):
                self._answers.setdefault(kind, []).append(forms)
        self.others = lru_cache(maxsize=4096)(self._others)

    def _others(self, truth_forms: frozenset[Form]) -> Others:
        answer_of: dict[Form, int] = {}
        for answers in self._answers.values():
            if any(forms & truth_forms for forms in answers):
                for forms in answers:
                    if not forms & truth_forms:
                        number = min((answer_of[f] for f in forms if f in answer_of), default=None)
                        number = len(answer_of) if number is None else number
                        answer_of |= dict.fromkeys(forms, number)
        return Others(index=_by_first_word(frozenset(answer_of)), answer_of=answer_of)


def load_known(path: str | Path) -> Known:
    if not Path(path).is_file():
        raise ValueError(f"judge.known is {str(path)!r}: no such file. Give a JSONL of answers")
    rows = read_jsonl(path, _known, wanted="a JSONL of answers")
    # an answer of no kind contradicts no other
    return Known((answer, aliases, kind) for answer, aliases, kind in rows if kind is not None)


def _known(row: Row) -> tuple[str, tuple[str, ...], str | None]:
    if "answer" not in row:
        raise ValueError("a known answer needs `answer`")
    return str(row["answer"]), texts_of(row, "aliases"), str(row["kind"]) if "kind" in row else None


def grade(
    question: str, truth: str, aliases: tuple[str, ...], answer: str, known: Known
) -> Finding:
    said = words_of(answer)
    truth_forms = _forms(truth, aliases)
    if said.words in truth_forms:
        return Finding(rule="same", why="It is the accepted answer.")
    if flaw := incoherence(answer, said):
        return Finding(rule="incoherent", why=flaw)
    asked = words_of(question).words
    others = known.others(truth_forms)
    truths = _spans(said, _by_first_word(truth_forms))
    wrongs = [
        (start, end)
        for start, end in _outside(_spans(said, others.index), truths)
        if not holds(asked, said.words[start:end])
    ]
    truths = _outside(truths, wrongs)
    denied = [span for span in truths if _is_denied(said, span)]
    forms = {said.words[a:b] for a, b in wrongs if not _is_denied(said, (a, b))}
    named = {others.answer_of[form]: " ".join(form) for form in sorted(forms)}
    if denied:
        return Finding(rule="contradicts", why="It denies the accepted answer.")
    if not truths:
        if named:
            return Finding(rule="contradicts", why=f"It names {_spell(named)} instead.")
        return Finding(rule="off_domain", why="The accepted answer is not in it.")
    if len(named) >= GUESSES:
        return Finding(rule="contradicts", why=f"It also names {_spell(named)}: a list of guesses.")
    if named:
        return Finding(rule="reasonable", why=f"It has the answer, but also names {_spell(named)}.")
    if len(said) <= _short_limit(said):
        return Finding(rule="same", why="It says the accepted answer, and little else.")
    return Finding(rule="reasonable", why="It has the answer, in many words.")


def incoherence(text: str, said: Words) -> str | None:
    """What makes it no language, or None."""
    if not said.words:
        return "It says nothing."
    if _CHAT_TAG.search(text):
        return "It holds tags of a chat template."
    if _GARBLED.search(text):
        return "Its characters are garbled."
    if sum(c.isalnum() for c in text) < 0.5 * sum(not c.isspace() for c in text):
        return "It is mostly symbols."
    words: tuple[str, ...] = tuple(re.findall(r"[㐀-䶿一-鿿]|[^\W_㐀-䶿一-鿿]+", text.casefold()))
    latin = [word for word in words if word.isascii() and word.isalpha()]
    return _repetition(words, latin) or _word_salad(words, latin, said.clauses[-1])


def _repetition(words: tuple[str, ...], latin: list[str]) -> str | None:
    if any(words[i] == words[i + 1] == words[i + 2] for i in range(len(words) - 2)):
        return "It repeats a word over and over."
    if 10 <= len(latin) <= 40 and len(set(latin)) < 0.4 * len(latin):
        return "It repeats a few words."
    if len(words) >= 6:
        size = 2 if len(words) < 9 else 3
        grams = [words[i : i + size] for i in range(len(words) - size + 1)]
        if len(set(grams)) < 0.6 * len(grams):
            return "It repeats itself."
    return None


def _word_salad(words: tuple[str, ...], latin: list[str], stops: int) -> str | None:
    if len(latin) >= 5 and sum(map(_pronounceable, latin)) < 0.6 * len(latin):
        return "Its words are not words."
    if len(latin) >= 6 and sum(len(word) == 1 for word in latin) > 0.6 * len(latin):
        return "It is single letters."
    small = sum(word in _FUNCTION_WORDS for word in latin)
    if len(latin) >= 8 and small >= 0.75 * len(latin):
        return "It is small words without a sentence."
    if len(words) > SHORT_WORDS and stops < len(words) // 12 and not _FUNCTION_WORDS & set(words):
        return "It is words without a sentence."
    return None


def _pronounceable(word: str) -> bool:
    if len(word) > 25 or (len(word) > 3 and not any(c in "aeiouy" for c in word)):
        return False
    run = 0
    for a, b in pairwise(word):
        run = run + 1 if a not in "aeiouy" and b not in "aeiouy" else 0
        if run >= 4:
            return False
    return True


def _short_limit(said: Words) -> int:
    han = sum(len(word) == 1 and not word.isascii() for word in said.words)
    return SHORT_WORDS * 2 if han > len(said) / 2 else SHORT_WORDS


@lru_cache(maxsize=4096)
def _forms(answer: str, aliases: tuple[str, ...]) -> frozenset[Form]:
    return frozenset(form for text in (answer, *aliases) if (form := words_of(text).words))


@lru_cache(maxsize=4096)
def _by_first_word(forms: frozenset[Form]) -> Index:
    first: dict[str, list[Form]] = {}
    for form in sorted(forms, key=len, reverse=True):
        first.setdefault(form[0], []).append(form)
    return {word: tuple(same) for word, same in first.items()}


Span = tuple[int, int]


def _spans(said: Words, index: Index) -> list[Span]:
    """Where the longest known form begins at each word."""
    spans: list[Span] = []
    for start, word in enumerate(said.words):
        for form in index.get(word, ()):
            if said.words[start : start + len(form)] == form:
                spans.append((start, start + len(form)))
                break
    return spans


def _outside(spans: list[Span], longer: list[Span]) -> list[Span]:
    """Those that are no part of a longer name, as "anaemia" is in "sickle cell anaemia"."""
    kept: list[Span] = []
    ahead = iter([*longer, (sys.maxsize, sys.maxsize)])
    begin, end = next(ahead)
    reach = 0
    for span in spans:
        while begin <= span[0]:
            reach = max(reach, end)
            begin, end = next(ahead)
        if span[1] > reach:
            kept.append(span)
    return kept


def _is_denied(said: Words, span: Span) -> bool:
    start, end = span
    clause = said.clauses[start]
    while start and said.words[start - 1] in _LINKS:
        start -= 1
    if any(
        said.words[max(start - len(denial), 0) : start] == denial
        and said.clauses[start - 1] == clause
        for denial in _DENIED_AFTER
    ):
        return True
    return any(
        said.words[end : end + len(denial)] == denial and said.clauses[end] == said.clauses[end - 1]
        for denial in _DENIED_BEFORE
    )


def _spell(named: Mapping[int, str]) -> str:
    return ", ".join(list(named.values())[:3])
