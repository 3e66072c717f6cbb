"""Completions that need no judge, and ones that look as if they did not."""

import pytest

from rewards import RewardConfig, Split
from rewards.gates import WHY, gate, repetition

ALL_ON = RewardConfig(max_answer_chars=80, max_repetition=0.5, check_language=True)


def answered(answer: str, status: str = "ok") -> Split:
    return Split(answer=answer, reasoning="", status=status)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", ["truncated", "unclosed", "empty"])
def test_what_the_split_found_wrong_is_the_gate(status: str):
    assert gate(answered("metformin", status), "en", RewardConfig()) == status
    assert status in WHY


@pytest.mark.parametrize("answer", [":", "...", "。", '"" , !', "\u200b-"])
def test_punctuation_says_nothing(answer: str):
    assert gate(answered(answer), "en", RewardConfig()) == "empty"


@pytest.mark.parametrize("answer", ["metformin", "+", "5", "∞", "二甲双胍", "no.", "the " * 400])
def test_by_default_whatever_says_something_goes_to_the_judge(answer: str):
    assert gate(answered(answer), "en", RewardConfig()) is None


def test_an_answer_of_exactly_the_longest_length_passes():
    config = RewardConfig(max_answer_chars=9)
    assert gate(answered("metformin"), "en", config) is None
    assert gate(answered("metformins"), "en", config) == "too_long"


@pytest.mark.parametrize("answer", ["it is it is " * 6, "是的" * 12])
def test_a_stuck_loop_is_repetition(answer: str):
    assert repetition(answer) > 0.7
    assert gate(answered(answer), "en" if answer.isascii() else "zh", ALL_ON) == "repetition"


def test_fresh_and_short_answers_repeat_nothing():
    assert repetition("no no no no no") == 0.0
    assert repetition("Metformin lowers the glucose made by the liver and helps the muscles") == 0.0


@pytest.mark.parametrize(
    ("lang", "answer", "expected"),
    [
        ("en", "Metformin", None),
        ("en", "二甲双胍", "wrong_language"),
        ("zh", "二甲双胍", None),
        ("zh", "MRI", None),
        ("zh", "首选头颅CT平扫", None),
        ("zh", "The first choice is metformin.", "wrong_language"),
        ("fr", "二甲双胍", None),
    ],
)
def test_the_script_is_that_of_the_language(lang: str, answer: str, expected: str | None):
    assert gate(answered(answer), lang, ALL_ON) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", "thinking"),
        ("floor", float("nan")),
        ("max_answer_chars", -1),
        ("max_repetition", 1.5),
    ],
)
def test_a_bad_setting_is_named_with_its_value(field: str, value: object):
    with pytest.raises(ValueError, match=f"{field}={value!r}"):
        RewardConfig(**{field: value})  # type: ignore[arg-type]
