"""Steps that look at a row by itself: is it long enough, fresh, and in a wanted language."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from rl.data.curate.row import Row
from rl.data.curate.step import Step, check_package
from rl.data.words import words
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class Length(Step):
    """A character of a script that writes no spaces is a word."""

    fewest_words: int = 5
    most_words: int = 100_000

    def __post_init__(self) -> None:
        if not 0 <= self.fewest_words <= self.most_words:
            raise Refusal(
                f"length: from {self.fewest_words} to {self.most_words} words is nothing. Lower "
                "fewest_words or raise most_words"
            )

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        for row in rows:
            n_words = len(words(row.text))
            fits = self.fewest_words <= n_words <= self.most_words
            yield "" if fits else f"{n_words:,} words"


@dataclass(frozen=True, kw_only=True)
class Repetition(Step):
    """The share of its runs of five words that the text has said before."""

    most: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.most <= 1:
            raise Refusal(f"repetition={self.most}: it must be above 0 and at most 1, as in 0.3")

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        for row in rows:
            share = said_before(row.text)
            yield f"{share:.0%} said before" if share > self.most else ""


def said_before(text: str) -> float:
    said = words(text)
    runs = list(zip(*(said[n:] for n in range(5)), strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


LANGUAGES = (
    *("en", "zh", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "hu"),
    *("ro", "tr", "ru", "uk", "el", "ar", "fa", "he", "hi", "bn", "th", "vi", "id", "ja", "ko"),
)
"""Those told apart. The library knows rarer ones, which it sees in English lists of terms."""
LEAD_CHARS = 400
FEWEST_LETTERS = 20


@dataclass(frozen=True, kw_only=True)
class Language(Step):
    """By the first 400 characters of a row; what has under 20 letters cannot be told, and stays."""

    keep: tuple[str, ...] = ("en",)

    def __post_init__(self) -> None:
        check_package("py3langid", "language")
        for language in self.keep:
            if language not in LANGUAGES:
                raise Refusal(
                    f"language={language}: told apart are {' '.join(LANGUAGES)}. Name some of "
                    "these, as in language=en+zh"
                )

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        identifier = _identifier()
        for row in rows:
            lead = row.text[:LEAD_CHARS]
            if sum(map(str.isalpha, lead)) < FEWEST_LETTERS:
                yield ""
                continue
            language = identifier.classify(lead)[0]
            yield "" if language in self.keep else f"is {language}"


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages([*LANGUAGES])
    return identifier
