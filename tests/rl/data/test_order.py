"""The order of prompts is a function of seed and generation; every pass over the data is whole."""

from hypothesis import given
from hypothesis import strategies as st

from rl.data.order import rows_of

seeds = st.integers(0, 2**31)


def stream(generations, **options):
    return [row for g in range(1, generations + 1) for row in rows_of(g, **options)]


@given(seed=seeds, prompts=st.integers(1, 12), rows=st.integers(1, 40), passes=st.integers(1, 5))
def test_every_pass_asks_every_row_once(seed, prompts, rows, passes):
    asked = stream(-(-passes * rows // prompts), seed=seed, prompts=prompts, rows=rows)
    for start in range(0, passes * rows, rows):
        assert sorted(asked[start : start + rows]) == list(range(rows))


@given(
    seed=seeds,
    prompts=st.integers(1, 12),
    more=st.integers(0, 30),
    generation=st.integers(1, 200),
)
def test_no_row_is_twice_in_a_generation_where_there_are_enough(seed, prompts, more, generation):
    asked = rows_of(generation, seed=seed, prompts=prompts, rows=prompts + more)
    assert len(set(asked)) == len(asked) == prompts


@given(seed=seeds, prompts=st.integers(1, 12), rows=st.integers(1, 40), after=st.integers(1, 60))
def test_a_generation_is_the_same_however_one_comes_to_it(seed, prompts, rows, after):
    options = {"seed": seed, "prompts": prompts, "rows": rows}
    alone = rows_of(after, **options)
    assert stream(after, **options)[-prompts:] == alone == rows_of(after, **options)


@given(seed=seeds, prompts=st.integers(1, 12))
def test_passes_differ_from_each_other_and_from_seed_to_seed(seed, prompts):
    rows = 40  # so many that two equal orders are no chance
    passes = 4
    asked = stream(passes * rows, seed=seed, prompts=prompts, rows=rows)
    orders = {tuple(asked[start : start + rows]) for start in range(0, passes * rows, rows)}
    assert len(orders) == passes
    other = stream(rows, seed=seed + 1, prompts=prompts, rows=rows)
    assert tuple(other[:rows]) not in orders


def test_a_generation_of_more_prompts_than_rows_asks_some_again():
    asked = stream(2, seed=0, prompts=7, rows=3)
    assert [sorted(asked[start : start + 3]) for start in (0, 3, 6, 9)] == [[0, 1, 2]] * 4
