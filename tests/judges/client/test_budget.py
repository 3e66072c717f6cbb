"""A budget is never exceeded, not even by what is still under way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.client.budget import Budget, BudgetExceeded, Spent
from judges.verdict import FREE, Usage

WORST = Usage(input_tokens=100, output_tokens=50, usd=0.01)


@given(
    max_calls=st.integers(1, 30),
    max_tokens=st.integers(1, 4_000),
    bills=st.lists(st.integers(0, 150), max_size=60),
)
def test_whatever_calls_cost_no_limit_is_ever_passed(max_calls, max_tokens, bills):
    budget = Budget(max_calls=max_calls, max_tokens=max_tokens)
    tokens = 0
    for made, bill in enumerate(bills):
        try:
            budget.reserve(WORST)
        except BudgetExceeded:
            assert made == max_calls or tokens + WORST.tokens > max_tokens
            break
        budget.settle(WORST, Usage(output_tokens=bill))
        tokens += bill
        assert budget.spent.tokens == tokens <= max_tokens
        assert budget.spent.calls == made + 1 <= max_calls


def test_calls_under_way_count_at_their_worst():
    budget = Budget(max_usd=0.025)
    budget.reserve(WORST)
    budget.reserve(WORST)
    with pytest.raises(BudgetExceeded, match=r"judge.max_usd is 0.025: 0.02 are spent"):
        budget.reserve(WORST)
    budget.settle(WORST, Usage(usd=0.001))
    budget.reserve(WORST)


def test_a_refused_call_takes_nothing():
    budget = Budget(max_calls=5, max_tokens=100)
    with pytest.raises(BudgetExceeded, match=r"judge\.max_tokens"):
        budget.reserve(WORST)
    assert budget.spent == Spent()


def test_a_call_that_was_not_billed_is_a_call_and_no_money():
    budget = Budget(max_calls=1)
    budget.reserve(WORST)
    budget.settle(WORST, FREE)
    assert budget.spent == Spent(calls=1)
    with pytest.raises(BudgetExceeded, match=r"judge\.max_calls"):
        budget.reserve(WORST)


def test_a_call_that_reached_nobody_is_no_call():
    budget = Budget(max_calls=1)
    for _ in range(3):
        budget.reserve(WORST)
        budget.settle(WORST, None)
    assert budget.spent == Spent()


def test_what_an_earlier_part_of_the_run_spent_is_spent():
    budget = Budget(max_tokens=1000, already=Spent(tokens=900))
    with pytest.raises(BudgetExceeded, match="900 are spent and the next call may need 150"):
        budget.reserve(WORST)
