"""Near-duplicates: what MinHash proposes, held against every pair computed."""

import itertools
import random

import pytest

from rl.data.curate.near import MISSED, PERMUTATIONS, banding, jaccard, nearest_kept, shingles
from rl.data.words import words

VOCABULARY = [f"word{n}" for n in range(3000)]


def shingles_of(text, n_words):
    """By the definition: sets of tuples."""
    said = words(text)
    return (
        {tuple(said[n : n + n_words]) for n in range(max(len(said) - n_words, 0) + 1)}
        if said
        else set()
    )


def nearness(some, others):
    return len(some & others) / len(some | others) if some | others else 0.0


def edited(text, share, draw):
    return " ".join(
        draw.choice(VOCABULARY) if draw.random() < share else word for word in text.split()
    )


@pytest.fixture
def texts():
    """70 texts, each followed somewhere by itself with 0 to 40 % of its words edited."""
    draw = random.Random(5)
    whole = [" ".join(draw.choices(VOCABULARY, k=draw.randint(30, 120))) for _ in range(70)]
    planted = [edited(text, draw.uniform(0, 0.4), draw) for text in whole]
    both = [*whole, *planted]
    draw.shuffle(both)
    return both


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.9])
def test_what_is_near_is_what_every_pair_computed_says(texts, threshold):
    found = list(nearest_kept(texts, threshold, 3))
    sets = [shingles_of(text, 3) for text in texts]
    kept, wanted = [], []
    for place, own in enumerate(sets):
        best = max(((nearness(own, sets[to]), -to) for to in kept), default=(0.0, 0))
        wanted.append(best[0] >= threshold)
        if not wanted[-1]:
            kept.append(place)
    assert 5 < sum(wanted) < 72
    both = sum(near is not None and is_near for near, is_near in zip(found, wanted, strict=True))
    assert both >= 0.95 * sum(wanted)
    for place, near in enumerate(found):
        if near:
            assert near.to < place
            assert found[near.to] is None
            assert near.similarity == pytest.approx(nearness(sets[place], sets[near.to]))
            assert near.similarity >= threshold


@pytest.mark.parametrize("n_words", [1, 3, 5])
def test_the_similarity_of_two_texts_is_that_of_their_sets_of_runs(texts, n_words):
    cases = [
        *texts[:20],
        "",
        "one",
        "one two",
        "two one",
        "肺炎是肺部感染",
        "肺炎是一种感染",
        "One, TWO",
    ]
    for some, others in itertools.combinations(cases, 2):
        exact = nearness(shingles_of(some, n_words), shingles_of(others, n_words))
        assert jaccard(shingles(some, n_words), shingles(others, n_words)) == pytest.approx(exact)


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.5, 0.7, 0.8, 0.95, 1.0])
def test_no_band_misses_more_than_is_said(threshold):
    bands, per_band = banding(threshold)
    assert (1 - threshold**per_band) ** bands <= MISSED
    assert bands * per_band <= PERMUTATIONS


def test_texts_without_words_are_not_each_others_duplicates():
    assert list(nearest_kept(["...", "!!!", "..."], 0.5, 3)) == [None, None, None]
