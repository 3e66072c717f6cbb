"""Text as the rules see it: bare words, each with the clause it stands in.

Chinese has no word boundaries, so every Han character is a word; "contains as whole words" then
means the same in both languages.
"""

import re
import unicodedata
from dataclasses import dataclass

_WORD = re.compile(
    r"(?P<stop>[.,;:!?。，；：！？、\n()（）|—]+)|\d+(?:\.\d+)?|[㐀-䶿一-鿿]|[^\W\d_㐀-䶿一-鿿]+"
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_POSSESSIVE = re.compile(r"['’]s\b")
_NOT = re.compile(r"n['’]t\b")
_ARTICLES = frozenset(("an", "the"))
_NUMERALS = {
    name: str(number)
    for names in (
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
        "零一二三四五六七八九十",
        "〇壹两叁肆伍陆柒捌玖拾",
    )
    for number, name in enumerate(names)
}


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
            words.append(_stem(_NUMERALS.get(match[0], match[0])))
            clauses.append(clause)
    if len(words) > 1 and words[0] == "a":  # elsewhere it may be vitamin A
        words, clauses = words[1:], clauses[1:]
    return Words(tuple(words), tuple(clauses))


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    if not text.isascii():
        bare = (c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
        text = unicodedata.normalize("NFC", "".join(bare))
    text = _THOUSANDS.sub("", text)
    return _NOT.sub(" not", _POSSESSIVE.sub("", text))


def _stem(word: str) -> str:
    """Singular and plural are one word. Crude, and applied to both sides alike."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
