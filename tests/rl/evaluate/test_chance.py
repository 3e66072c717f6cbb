"""Intervals and p values, each against another way to the same number."""

import itertools
import math
import random

import numpy as np
import pytest

from judges.trust.agreement import bootstrap
from rl.evaluate.compare.chance import draw, holm, mcnemar, permutation
from rl.evaluate.compare.figures import rows_of, with_holm
from rl.evaluate.task import Metric, Score, mean_of, ratio_of

SHARE = Metric(name="right", better="higher", of=mean_of("right"), is_share=True)
LOSS = Metric(name="loss", better="lower", of=ratio_of("nats", "tokens", np.exp))


def scores(*rows):
    return [Score(item=str(i), values=values, shown={}) for i, values in enumerate(rows)]


def right(*hits):
    return scores(*({"right": float(hit)} for hit in hits))


def documents(seed, *, count=30, shift=0.0):
    rng = random.Random(seed)
    sizes = [rng.randint(5, 50) for _ in range(count)]
    return scores(
        *({"nats": size * (2 + shift + rng.gauss(0, 0.3)), "tokens": size} for size in sizes)
    )


def test_a_quotient_is_drawn_as_the_same_figure_is_that_is_counted_one_draw_at_a_time():
    def one_by_one(some):
        nats, tokens = (math.fsum(s.values[name] for s in some) for name in ("nats", "tokens"))
        return math.exp(nats / tokens)

    slow = Metric(name="loss", better="lower", of=one_by_one)
    (quick,), (slowly,) = (draw([metric], {"a": documents(1)}, seed=3) for metric in (LOSS, slow))
    np.testing.assert_allclose(quick["a"], slowly["a"], rtol=1e-12)


def test_an_interval_is_that_of_resampling_in_a_loop():
    found = documents(2, count=60)
    (row,) = rows_of("t", [LOSS], {"a": found}, compared=["a"], seed=0)
    loop = bootstrap(found, LOSS.of, resamples=4000, seed=1)
    ours = row.figures["a"]
    assert ours.value == loop.value
    assert (ours.low, ours.high) == pytest.approx((loop.low, loop.high), rel=0.01)


def test_what_some_items_do_not_have_is_drawn_without_them():
    found = scores({"right": 1.0}, {}, {"right": 0.0}, {"right": 1.0})
    (row,) = rows_of("t", [SHARE], {"a": found}, compared=["a"], seed=0)
    assert row.counts == {"a": 3}
    assert row.figures["a"].value == pytest.approx(2 / 3)


def test_mcnemar_is_the_binomial_sum_over_the_items_that_differ():
    first, other = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 1, 1, 1, 1, 0]
    tail = sum(math.comb(7, wins) for wins in (0, 1, 6, 7)) / 2**7
    assert mcnemar(first, other) == pytest.approx(tail)
    assert mcnemar([1, 0], [1, 0]) == 1.0


def test_of_right_and_wrong_the_permutation_test_is_mcnemars():
    first, other = right(*([1] * 20 + [0] * 15)), right(*([1] * 17 + [0] * 7 + [1] * 11))
    exact = mcnemar(*([s.values["right"] for s in some] for some in (first, other)))
    assert permutation(SHARE, first, other, seed=0) == pytest.approx(exact, abs=0.015)


def test_the_permutation_test_counts_what_every_swap_would_give():
    first, other = documents(3, count=9), documents(4, count=9, shift=0.15)
    found = LOSS.of(other) - LOSS.of(first)
    differences = []
    for sides in itertools.product((0, 1), repeat=9):
        pairs = [(a, b) if side else (b, a) for side, a, b in zip(sides, first, other, strict=True)]
        differences.append(LOSS.of([b for _, b in pairs]) - LOSS.of([a for a, _ in pairs]))
    exact = sum(abs(each) >= abs(found) - 1e-12 for each in differences) / len(differences)
    assert 0.01 < exact < 0.9
    assert permutation(LOSS, first, other, seed=0) == pytest.approx(exact, abs=0.02)
    slow = Metric(name="loss", better=None, of=lambda some: LOSS.of(some))
    quick, slowly = (permutation(metric, first, other, seed=5) for metric in (LOSS, slow))
    assert quick == slowly


def test_holm_rejects_what_its_definition_rejects():
    rng = random.Random(0)
    for _ in range(50):
        ps = [rng.choice([0.001, 0.01, 0.02, 0.04, rng.random()]) for _ in range(rng.randint(1, 8))]
        for level in (0.01, 0.05, 0.2):
            rejected = set()
            for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
                if ps[place] > level / (len(ps) - rank):
                    break
                rejected.add(place)
            assert {i for i, p in enumerate(holm(ps)) if p <= level + 1e-12} == rejected
    assert holm([]) == []


def test_only_first_metrics_are_corrected_and_for_each_other():
    tasks = {"one": (40, 25), "two": (40, 39)}
    rows = [
        row
        for name, (a, b) in tasks.items()
        for row in rows_of(
            name,
            [SHARE, Metric(name="again", better=None, of=mean_of("right"))],
            {"base": right(*([0] * a + [1] * 10)), "tuned": right(*([0] * b + [1] * (50 - b)))},
            compared=["base", "tuned"],
            seed=0,
        )
    ]
    corrected = with_holm(rows)
    first = [row.differences["tuned"] for row in corrected if row.is_primary]
    assert [each.p_holm for each in first] == holm([each.p for each in first])
    assert {row.differences["tuned"].p_holm for row in corrected if not row.is_primary} == {None}


def test_a_share_of_all_has_an_interval_that_is_honest_about_it():
    (row,) = rows_of("t", [SHARE], {"oracle": right(*[1] * 20)}, compared=[], seed=0)
    estimate = row.figures["oracle"]
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low < 0.9


def test_two_thousand_items_of_ten_columns_are_drawn_at_once():
    many = {str(label): right(*[(i * label) % 3 == 0 for i in range(2000)]) for label in range(10)}
    (drawn,) = draw([SHARE], many, seed=0)
    assert all(len(draws) == 10_000 for draws in drawn.values())
    assert np.std(drawn["1"]) == pytest.approx(math.sqrt(2 / 9 / 2000), rel=0.05)
