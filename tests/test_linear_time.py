"""A candidate writes what is split, gated, neutralised and quoted by a judge, in one event loop.

Whatever it writes, twice as much takes about twice as long.
"""

import contextlib
import time
from dataclasses import replace

import pytest

from judges import JudgeRequest
from judges.client.wire import Reply
from judges.rubric.lineup import line_up, lineup_prompt, truth_share
from judges.rubric.prompt import neutralise
from judges.rubric.reply import grade_reply
from judges.rubric.rubric import load_rubric
from judges.serve.rules import Known, grade
from judges.verdict import FREE, Faulty
from rewards.config import RewardConfig
from rewards.gates import gate
from rewards.split import split_text

pytestmark = pytest.mark.slow

MARKS = list("[](){}<>\"'`“”‘’「」 \n\t\r")
STUCK = {"[": "A", "<": "|", "x": "_", "{": '"tier": ', "```": "`"}  # what opens, and never closes
CRAFTED = [
    *("[A", "[[", "{{", '{"', '{"tier": 1} ', '"tier": 1, ', '\\"', "<think>", "</think>", "<|"),
    *("\u0301\u0316", "\U0001d165\u302e", "... ", "三十", "because "),
    "vitamin c and vitamin d, ",
    "lack of which vitamin causes scurvy? ",
    "not vitamin c or alpha{} beta{} ",
]
REQUEST = JudgeRequest(
    question="Lack of which vitamin causes scurvy?", truth="Vitamin C", answer=""
)
RUBRIC = load_rubric("medical_en")
GATES = RewardConfig(max_repetition=0.5, max_answer_chars=10**9, check_language=True)
KNOWN = Known((f"Vitamin {letter}", (), "vitamin") for letter in "CDEK")


def splitting_and_gates(text):
    for family in ("think", "harmony", "mistral", "gemma"):
        split = split_text(text, opened=False, finish_reason="stop", family=family)
    gate(split, "zh", GATES)


def reading(text):
    reply = Reply(text=text, truncated=False, usage=FREE)
    with contextlib.suppress(Faulty):
        grade_reply(reply, RUBRIC)
    with contextlib.suppress(Faulty):
        truth_share(reply, line_up(REQUEST, 0))


def lining_up(text):
    request = replace(REQUEST, answer=text)
    lineup_prompt(request, line_up(request, 0), "labels", "0" * 8)


def rules(text):
    grade(REQUEST.question, REQUEST.truth, (), text, KNOWN)


def seconds(work, text):
    started = time.process_time()
    work(text)
    return time.process_time() - started


def text_of(begin, piece, size):
    numbered = "{}" in piece
    count = size // len(piece)
    body = "".join(piece.format(i, i) for i in range(count)) if numbered else piece * count
    return begin + body


def hold_to_its_length(work, begin, piece, size):
    """Ten times as long may take thirty times as long; a square would take a hundred.

    The machine may be busy for a while, so both are timed next to each other, up to ten times.
    """
    work(text_of(begin, piece, 1000))
    for brief, longer in ((size // 100, size // 10), (size // 10, size)):
        texts = text_of(begin, piece, brief), text_of(begin, piece, longer)
        assert any(in_proportion(work, *texts) for _ in range(10)), (begin, piece, longer)


def in_proportion(work, brief, longer):
    fastest = min(seconds(work, brief) for _ in range(3))
    return seconds(work, longer) < 30 * max(fastest, 1e-3)


@pytest.mark.parametrize("work", [splitting_and_gates, neutralise, reading])
@pytest.mark.parametrize("piece", MARKS)
def test_a_megabyte_of_any_mark_takes_as_long_as_its_length_says(work, piece):
    hold_to_its_length(work, "", piece, 10**6)


@pytest.mark.parametrize("work", [splitting_and_gates, neutralise, reading])
@pytest.mark.parametrize("begin", STUCK)
def test_a_megabyte_after_what_opens_a_tag_does_too(work, begin):
    hold_to_its_length(work, begin, STUCK[begin], 10**6)


@pytest.mark.parametrize("work", [splitting_and_gates, neutralise, reading, lining_up, rules])
@pytest.mark.parametrize("piece", CRAFTED)
def test_a_crafted_answer_does_too(work, piece):
    hold_to_its_length(work, "x", piece, 2 * 10**5)
