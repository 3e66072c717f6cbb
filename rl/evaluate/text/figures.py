"""What can be said of an answer without a judge: plain functions of texts."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from rewards.gates import in_script_of
from rl.data.words import words

ARTICLES = frozenset(("a", "an", "the"))
REPEATED_WORDS = 4


def normalised(text: str) -> list[str]:
    """As SQuAD compares answers: without case, punctuation and English articles."""
    return [word for word in words(text) if word not in ARTICLES]


def exact_match(answer: str, accepted: Iterable[str]) -> float:
    said = normalised(answer)
    return float(any(said == normalised(truth) for truth in accepted))


def token_f1(answer: str, accepted: Iterable[str]) -> float:
    """The harmonic mean of the share of its words that the truth has too, and the other way."""
    said = normalised(answer)
    return max(_f1(said, normalised(truth)) for truth in accepted)


def rouge_l(answer: str, accepted: Iterable[str]) -> float:
    """By the longest common subsequence: the F-measure of the truth that suits it best."""
    return max(_rouge_scorer().score(truth, answer)["rougeL"].fmeasure for truth in accepted)


def repetition(answer: str) -> float | None:
    """The share of runs of four words that stood there before; None where it has no such run."""
    said = words(answer)
    runs = list(zip(*(said[n:] for n in range(REPEATED_WORDS)), strict=False))
    return 1 - len(set(runs)) / len(runs) if runs else None


def in_language(answer: str, question: str, lang: str) -> float | None:
    """Whether it is in the question's language, by its script: of Chinese and English alone.

    A row that says nothing of its language is taken for English; a Chinese question is not.
    """
    if lang == "en" and not in_script_of("en", question):
        lang = "zh"
    if lang not in ("zh", "en") or not words(answer):
        return None
    return float(in_script_of(lang, answer))


def _f1(said: Sequence[str], truth: Sequence[str]) -> float:
    if not said or not truth:
        return float(said == truth)
    return 2 * (Counter(said) & Counter(truth)).total() / (len(said) + len(truth))


class _WordTokenizer:
    """rouge-score's own knows nothing but a to z and digits: two equal Chinese texts score 0."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


@cache
def _rouge_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_WordTokenizer())
