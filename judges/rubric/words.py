"""Text as the rules see it: bare words, each with the clause it stands in.

Chinese has no word boundaries, so every Han character is a word; "contains as whole words" then
means the same in both languages.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(
    r"(?P<stop>[.,;:!?。，；：！？、\n()（）|—]+)|\d+(?:\.\d+)?|(?P<numeral>[零〇一二两三四五六七八九十百千]+)"
    r"|[㐀-䶿一-鿿]|[^\W\d_㐀-䶿一-鿿]+"
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_POSSESSIVE = re.compile(r"['’]s\b")
_NOT = re.compile(r"n['’]t\b")
_ARTICLES = frozenset(("an", "the"))
_ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {name: str(number) for number, name in enumerate(_ENGLISH)}
_DIGITS = {name: number for number, name in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_UNITS = {"十": 10, "百": 100, "千": 1000}


@dataclass(frozen=True, slots=True)
class Words:
    words: tuple[str, ...]
    clauses: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.words)


def words_of(text: str) -> Words:
    words: list[str] = []
    clauses: list[int] = []
    clause = 0
    for match in _WORD.finditer(_plain(text)):
        if match.lastgroup == "stop":
            clause += 1
        elif match[0] not in _ARTICLES:
            numeral = match.lastgroup == "numeral"
            words.append(_number(match[0]) if numeral else _stem(_NUMBERS.get(match[0], match[0])))
            clauses.append(clause)
    if len(words) > 1 and words[0] == "a":  # elsewhere it may be vitamin A
        words, clauses = words[1:], clauses[1:]
    return Words(tuple(words), tuple(clauses))


def says(said: Words, text: str) -> bool:
    """Whether the words of a text stand in it, in a row."""
    form = words_of(text).words
    return bool(form) and holds(said.words, form)


def holds(words: tuple[str, ...], form: tuple[str, ...]) -> bool:
    starts = range(len(words) - len(form) + 1)
    return any(words[i : i + len(form)] == form for i in starts)


def says_any(text: str, forms: Iterable[str]) -> bool:
    said = words_of(text)
    return any(says(said, form) for form in forms)


def _plain(text: str) -> str:
    if not text.isascii():  # marks first: to sort a long run of them takes its square
        text = "".join(c for c in text if not unicodedata.combining(c))
    text = unicodedata.normalize("NFKC", text).casefold()
    if not text.isascii():
        bare = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        text = unicodedata.normalize("NFC", "".join(bare))
    text = _THOUSANDS.sub("", text)
    return _NOT.sub(" not", _POSSESSIVE.sub("", text))


def _number(numeral: str) -> str:
    """三十六 is 36."""
    if not _UNITS.keys() & set(numeral):
        return "".join(str(_DIGITS[c]) for c in numeral)
    total, digit = 0, 1
    for c in numeral:
        if c in _UNITS:
            total, digit = total + digit * _UNITS[c], 0
        else:
            digit = _DIGITS[c]
    return str(total + digit if numeral[-1] not in _UNITS else total)


def _stem(word: str) -> str:
    """Singular and plural are one word. Crude, and applied to both sides alike."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
