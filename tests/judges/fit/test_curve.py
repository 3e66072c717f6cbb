import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.fit.curve import ANY, EDGE, Curve, fitted, fitted_by_language, odds_of, share_at

PLACES = st.floats(-13.0, 13.0)
CURVES = st.builds(Curve, st.floats(0.2, 3.0), st.floats(-3.0, 3.0))


@given(CURVES, PLACES)
def test_a_curve_is_undone_by_its_inverse(curve, place):
    share = curve.at(place)
    if EDGE < share < 1 - EDGE:
        assert curve.where(share) == pytest.approx(place, abs=1e-6)


@given(st.floats(0.0001, 0.9999))
def test_odds_are_undone(share):
    assert share_at(odds_of(share)) == pytest.approx(share)
    assert odds_of(1 - share) == pytest.approx(-odds_of(share), abs=1e-6)


@given(CURVES, PLACES, PLACES)
def test_a_higher_score_is_never_worth_less(curve, one, other):
    low, high = sorted((one, other))
    assert 0 < curve.at(low) <= curve.at(high) < 1


def test_what_is_certain_is_still_worth_something_less_than_all():
    assert 0 < Curve(1.0, 0.0).at(odds_of(0.0)) < 0.001
    assert 0.999 < Curve(1.0, 0.0).at(odds_of(1.0)) < 1


def test_the_curve_by_which_labels_were_drawn_is_found_again():
    rng = random.Random(0)
    true = Curve(0.6, -1.2)
    places = [rng.gauss(1, 2) for _ in range(20_000)]
    right = [float(rng.random() < true.at(place)) for place in places]
    found = fitted(places, right)
    assert (found.slope, found.intercept) == pytest.approx((0.6, -1.2), abs=0.06)


def test_what_is_half_worth_something_counts_half_each_way():
    found = fitted([-2.0, 2.0] * 80, [0.25, 0.75] * 80)
    as_often = fitted(
        [-2.0] * 80 + [2.0] * 80, ([1.0] * 20 + [0.0] * 60) + ([1.0] * 60 + [0.0] * 20)
    )
    assert (found.at(-2), found.at(2)) == pytest.approx((0.25, 0.75), abs=0.01)
    assert (found.slope, found.intercept) == pytest.approx(
        (as_often.slope, as_often.intercept), abs=1e-3
    )


def test_no_curve_where_what_scores_more_is_worth_less():
    assert fitted([0.9, 0.8, 0.2, 0.1], [0.0, 0.0, 1.0, 1.0]) is None
    assert fitted([0.9, 0.1], [1.0, 1.0]) is None


def test_a_language_in_which_the_judge_says_yes_to_all_has_a_cut_of_its_own():
    langs, places, right = [], [], []
    rng = random.Random(1)
    for lang, bias in (("en", 0.0), ("zh", 4.0)):
        for i in range(200):
            odds = bias + (1.5 if i % 2 else -1.5) + rng.gauss(0, 1)
            langs.append(lang)
            places.append(odds)
            right.append(i % 2 == 1)
    curves = fitted_by_language(langs, places, list(map(float, right)), right)
    assert set(curves) == {ANY, "en", "zh"}
    assert curves["en"].where(0.5) == pytest.approx(0.0, abs=0.3)
    assert curves["zh"].where(0.5) == pytest.approx(4.0, abs=0.3)


def test_a_language_with_too_few_of_a_kind_shares_the_curve_of_all():
    langs = ["en"] * 40 + ["zh"] * 18
    right = [i % 2 == 0 for i in range(58)]
    said = [0.8 if hit else 0.3 for hit in right]
    curves = fitted_by_language(langs, said, list(map(float, right)), right)
    assert set(curves) == {ANY, "en"}
    assert set(fitted_by_language(["en"] * 58, said, list(map(float, right)), right)) == {ANY}
