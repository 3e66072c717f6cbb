"""Runs of words planted in training texts, and what is found of them."""

import random
import weakref

import pytest

from rl.data.contamination import RUN_WORDS, overlapping
from rl.data.words import words

VOCABULARY = [f"word{n}" for n in range(5000)]


def sentence(draw, length):
    return " ".join(draw.choices(VOCABULARY, k=length))


@pytest.fixture
def draw():
    return random.Random(11)


def test_the_planted_items_are_found_and_no_others(draw):
    items = {f"item {n}": sentence(draw, 30) for n in range(60)}
    planted = {f"item {n}" for n in range(0, 60, 7)}
    train = [sentence(draw, 200) for _ in range(50)]
    for item in planted:
        begin = draw.randint(0, 30 - RUN_WORDS)
        run = " ".join(items[item].split()[begin : begin + RUN_WORDS])
        place = draw.randrange(len(train))
        train[place] += f" And so: {run.upper()}! {sentence(draw, 20)}"
    found = overlapping(iter(train), items)
    assert found.overlapping.keys() == planted
    assert found.share == len(planted) / 60
    for item, run in found.overlapping.items():
        assert run in items[item]
        assert len(run.split()) == RUN_WORDS


def test_a_run_that_is_one_word_too_short_is_none(draw):
    text = sentence(draw, 40)
    run = " ".join(text.split()[5 : 5 + RUN_WORDS - 1])
    assert not overlapping([f"before {run} after"], {"item": text}).overlapping


def test_what_the_definition_says_is_found_of_any_texts(draw):
    """Of so few words that runs of four meet by chance."""
    texts = [" ".join(draw.choices("abcd", k=draw.randint(0, 12))) for _ in range(60)]
    train, items = texts[:30], {str(n): text for n, text in enumerate(texts[30:])}

    def has_run(text, of):
        said, there = words(text), " ".join(words(of))
        return any(f" {' '.join(said[n : n + 4])} " in f" {there} " for n in range(len(said) - 3))

    found = overlapping(train, items, run_words=4)
    wanted = {item for item, text in items.items() if any(has_run(text, t) for t in train)}
    assert found.overlapping.keys() == wanted
    assert set(found.too_short) == {item for item, text in items.items() if len(text.split()) < 4}
    assert found.share == len(wanted) / (30 - len(found.too_short))


def test_a_run_of_chinese_is_of_characters():
    item = "下列哪种激素由胰岛分泌，能够降低血糖？"
    assert overlapping(["题目：哪种激素由胰岛分泌能够降低血糖。"], {"zh": item}).overlapping
    assert not overlapping(["哪种激素由胰岛分泌，并能降低血糖"], {"zh": item}).overlapping


def test_nothing_is_said_of_items_that_are_too_short():
    found = overlapping(["Which bone is the longest?"], {"bone": "Which bone is the longest?"})
    assert (found.share, found.too_short) == (None, ("bone",))


class Text(str):
    """One that can be asked whether it is still held."""


def test_training_texts_are_gone_through_and_not_kept(draw):
    alive: weakref.WeakSet[Text] = weakref.WeakSet()
    most = 0

    def texts():
        nonlocal most
        for _ in range(50):
            text = Text(sentence(draw, 40))
            alive.add(text)
            most = max(most, len(alive))
            yield text

    overlapping(texts(), {"item": sentence(draw, 100)})
    assert most <= 3
