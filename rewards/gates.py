"""What needs no judge: completions whose reward is the floor, whatever they were meant to say."""

import re
import unicodedata

from rewards.config import RewardConfig
from rewards.split import Split

WHY = {
    "empty": "Nothing was said.",
    "truncated": "The completion ran out of tokens before it ended.",
    "unclosed": "The reasoning never ended, so there is no answer.",
    "too_long": "The answer is longer than allowed.",
    "repetition": "The answer repeats itself.",
    "wrong_language": "The answer is not in the language asked for.",
}

# a word, or one character of a script that writes no spaces
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_FEWEST_TRIPLES = 8  # shorter answers repeat themselves by accident


def gate(split: Split, lang: str, config: RewardConfig) -> str | None:
    """The name of the gate that stops this completion, or None: ask the judge."""
    if split.status != "ok":
        return split.status
    if not _says_something(split.answer):
        return "empty"
    if 0 < config.max_answer_chars < len(split.answer):
        return "too_long"
    if 0 < config.max_repetition < repetition(split.answer):
        return "repetition"
    if config.check_language and not in_script_of(lang, split.answer):
        return "wrong_language"
    return None


def _says_something(answer: str) -> bool:
    """Punctuation alone is no answer; a symbol may be one."""
    return any(unicodedata.category(character)[0] in "LNS" for character in answer)


def repetition(answer: str) -> float:
    """The share of word triples that occurred before: 0 for fresh text, near 1 for a stuck loop."""
    words = _WORDS.findall(answer.lower())
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if len(triples) < _FEWEST_TRIPLES:
        return 0.0
    return 1 - len(set(triples)) / len(triples)


def in_script_of(lang: str, answer: str) -> bool:
    """Whether Chinese is asked for and mostly absent, or English asked for and Chinese present.

    Names and abbreviations stay Latin in Chinese answers, so short answers without any Han
    character pass, and other languages than these two are not checked.
    """
    letters = sum(character.isalpha() for character in answer)
    han = len(_HAN.findall(answer))
    if lang == "zh":
        return letters <= 12 or han >= 0.3 * letters
    return lang != "en" or han <= 0.1 * letters
