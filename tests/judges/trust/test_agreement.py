"""Each figure against the slow, plain definition of it."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from judges.trust.agreement import (
    accuracy_at_held_out_cut,
    auc,
    auc_within,
    best_cut,
    bootstrap,
    calibration_error,
    share,
    weighted_kappa,
    wilson,
    youden,
)

SCORED = st.lists(st.tuples(st.integers(-3, 3).map(float), st.booleans()), max_size=25)
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@given(SCORED)
@settings(max_examples=200, deadline=None)
def test_auc_is_the_share_of_pairs_in_which_the_right_answer_scores_higher(rows):
    scores, right = [score for score, _ in rows], [hit for _, hit in rows]
    good = [score for score, hit in rows if hit]
    bad = [score for score, hit in rows if not hit]
    if not good or not bad:
        assert auc(scores, right) is None
        return
    won = sum(1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad)
    assert auc(scores, right) == pytest.approx(won / len(good) / len(bad))


@given(SCORED)
@settings(max_examples=100, deadline=None)
def test_auc_turned_over_is_its_complement(rows):
    scores, right = [score for score, _ in rows], [hit for _, hit in rows]
    area = auc(scores, right)
    if area is not None:
        assert auc([-score for score in scores], right) == pytest.approx(1 - area)


@given(SCORED)
@settings(max_examples=100, deadline=None)
def test_auc_is_scikit_learns(rows):
    scores, right = [score for score, _ in rows], [hit for _, hit in rows]
    if len(set(right)) == 2:
        assert auc(scores, right) == pytest.approx(roc_auc_score(right, scores))


@given(PAIRS)
@settings(max_examples=200, deadline=None)
def test_weighted_kappa_is_scikit_learns(pairs):
    theirs, found = [a for a, _ in pairs], weighted_kappa(pairs)
    if len({rank for pair in pairs for rank in pair}) == 1:
        assert found is None
        return
    ours = [b for _, b in pairs]
    expected = cohen_kappa_score(theirs, ours, labels=range(5), weights="quadratic")
    assert found == pytest.approx(expected)


def test_weighted_kappa_knows_agreement_chance_and_opposition():
    assert weighted_kappa([(i, i) for i in range(5)]) == 1
    assert weighted_kappa(list(itertools.product(range(5), repeat=2))) == pytest.approx(0)
    assert weighted_kappa([(i, 4 - i) for i in range(5)]) == pytest.approx(-1)
    assert weighted_kappa([(2, 2), (2, 2)]) is None
    assert weighted_kappa([]) is None


@given(st.integers(0, 60), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_wilsons_bounds_are_where_the_score_test_just_gives_way(hits, total):
    hits = min(hits, total)
    found = wilson(hits, total)
    p = hits / total
    assert found.value == p
    assert 0 <= found.low <= p <= found.high <= 1
    for bound in (found.low, found.high):
        if 0 < bound < 1:  # solves |p - bound| = 1.96 * sqrt(bound (1 - bound) / n)
            deviation = 1.959964 * math.sqrt(bound * (1 - bound) / total)
            assert abs(p - bound) == pytest.approx(deviation, abs=1e-6)


def test_wilson_says_how_little_no_hits_in_few_tries_prove():
    assert wilson(0, 300).high == pytest.approx(0.0126, abs=1e-4)
    assert wilson(0, 10).high > 0.25
    assert wilson(0, 0).value is None


def test_a_bootstrap_interval_holds_the_mean_of_a_fair_coin_about_as_wide_as_theory_says():
    rows = [True, False] * 200
    found = bootstrap(rows, share)
    assert found.value == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 400), rel=0.2)
    assert bootstrap(rows, share) == found
    assert bootstrap(rows, share, seed=1) != found


def test_rows_that_stand_or_fall_together_are_drawn_together():
    """400 rows, but only 20 questions: as wide as 20 coins, not as 400."""
    rows = [(question, question % 2 == 0) for question in range(20) for _ in range(20)]

    def mean(drawn):
        return share([hit for _, hit in drawn])

    found = bootstrap(rows, mean, by=lambda row: row[0])
    assert found.value == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 20), rel=0.2)
    alone = bootstrap(rows, mean)
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 400), rel=0.2)
    assert bootstrap(rows, mean, by=lambda row: row[0]) == found


def test_every_row_in_a_group_of_its_own_is_no_grouping():
    rows = list(range(30))

    def mean(drawn):
        return sum(drawn) / len(drawn)

    assert bootstrap(rows, mean, by=lambda row: row) == bootstrap(rows, mean)


def test_one_group_says_nothing_about_others():
    found = bootstrap([True, False, True], share, by=lambda row: "the same question")
    assert (found.value, found.low, found.high) == (pytest.approx(2 / 3), None, None)


def test_a_bootstrap_of_what_is_undefined_says_so_and_skips_undefined_draws():
    assert bootstrap([], share).value is None
    rows = [(1.0, True), (0.0, False)]  # half of the draws hold one class alone

    def area(drawn):
        return auc([score for score, _ in drawn], [hit for _, hit in drawn])

    found = bootstrap(rows, area)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


@given(SCORED.filter(bool))
@settings(max_examples=200, deadline=None)
def test_no_cut_puts_more_answers_on_their_side_than_the_best_one(rows):
    def proper(cut):
        return sum((score >= cut) == hit for score, hit in rows)

    cut = best_cut([score for score, _ in rows], [hit for _, hit in rows])
    assert proper(cut) == max(proper(each) for each in (*(s for s, _ in rows), math.inf))


def test_a_held_out_cut_gains_nothing_from_noise():
    scores = [float(i % 7) for i in range(400)]
    right = [(i * 37) % 101 % 2 == 0 for i in range(400)]
    chosen_on_all = best_cut(scores, right)
    assert chosen_on_all is not None
    assert abs(accuracy_at_held_out_cut(scores, right) - 0.5) < 0.08
    assert accuracy_at_held_out_cut([0.0, 0.1, 0.9, 1.0] * 5, [False, False, True, True] * 5) == 1
    assert accuracy_at_held_out_cut([1.0], [True]) is None


def test_auc_within_groups_does_not_mind_that_one_is_scored_higher():
    scores, right = [0.1, 0.2, 0.8, 0.9], [False, True, False, True]
    assert auc(scores, right) == 0.75
    assert auc_within(scores, right, ["en", "en", "zh", "zh"]) == 1.0
    assert auc_within(scores, right, ["en"] * 4) == auc(scores, right)
    assert auc_within(scores, right, [True, False, True, False]) is None


def test_j_is_the_share_of_right_answers_that_pass_less_that_of_wrong_ones():
    assert youden([True, True, False, True], [True, True, True, False]) == pytest.approx(2 / 3 - 1)
    assert youden([True, False], [True, False]) == 1.0
    assert youden([True], [True]) is None


def test_a_judge_is_calibrated_where_as_many_are_right_as_it_says():
    said = [0.75] * 8 + [0.25] * 8
    worth = [1.0] * 6 + [0.0] * 2 + [1.0] * 2 + [0.0] * 6
    assert calibration_error(said, worth) == 0.0
    assert calibration_error([1.0] * 16, worth) == 0.5
    assert calibration_error([0.75, 1.0], [1.0, 0.5]) == pytest.approx((0.25 + 0.5) / 2)
    assert calibration_error([], []) is None
