"""Limits under a clock of our own: no second passes here that a test did not write down."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.client.http import HttpReply
from judges.client.ledger import Ledger
from judges.client.limits import AdaptiveLimit, MinuteBucket, Pace, Slots

GAPS_S = st.lists(st.floats(0, 20), min_size=1, max_size=200)


def starts(bucket: MinuteBucket, gaps_s, units):
    """When each of a row of requests starts, each asked for after a gap."""
    now, times = 0.0, []
    for gap_s, size in zip(gaps_s, units, strict=False):
        now += gap_s
        times.append(bucket.starts_at(size, now))
        bucket.take(size, now)
    return times


def most_in_a_minute(times, units):
    most = 0
    for first, start in enumerate(times):
        inside = zip(times[first:], units[first:], strict=True)
        most = max(most, sum(size for time, size in inside if time < start + 60 - 1e-6))
    return most


@given(per_minute=st.integers(1, 400), gaps_s=GAPS_S)
def test_no_minute_sees_more_requests_than_allowed(per_minute, gaps_s):
    ones = [1] * len(gaps_s)
    times = starts(MinuteBucket(per_minute), gaps_s, ones)
    assert most_in_a_minute(times, ones) <= per_minute
    assert all(earlier <= later for earlier, later in pairwise(times))


@given(
    per_minute=st.integers(600, 100_000),
    gaps_s=GAPS_S,
    units=st.lists(st.integers(1, 5_000), min_size=200, max_size=200),
)
def test_no_minute_sees_more_tokens_than_allowed_and_one_large_request(per_minute, gaps_s, units):
    times = starts(MinuteBucket(per_minute), gaps_s, units)
    units = units[: len(times)]
    assert most_in_a_minute(times, units) <= per_minute + max(units)


@given(per_minute=st.integers(600, 100_000), size=st.integers(1, 100_000), gaps_s=GAPS_S)
def test_no_minute_sees_more_tokens_than_allowed_however_large_the_requests(
    per_minute, size, gaps_s
):
    units = [min(size, per_minute)] * len(gaps_s)
    times = starts(MinuteBucket(per_minute), gaps_s, units)
    assert most_in_a_minute(times, units) <= per_minute + 1


@given(per_minute=st.integers(6_000, 100_000), size=st.integers(100, 2_000))
def test_a_queue_of_large_requests_moves_at_nearly_the_allowed_pace(per_minute, size):
    units = [size] * 200
    times = starts(MinuteBucket(per_minute), [0.0] * 200, units)
    assert times[-1] <= sum(units) * 60 / (per_minute - size) * 1.02


@given(per_minute=st.integers(1, 10_000), count=st.integers(1, 500))
def test_a_queue_moves_at_nearly_the_allowed_pace(per_minute, count):
    times = starts(MinuteBucket(per_minute), [0.0] * count, [1] * count)
    assert times[-1] <= count * 60 / per_minute * 1.02


@given(per_minute=st.integers(60, 10_000), gap_s=st.floats(1.1, 5.0))
def test_requests_slower_than_the_pace_never_wait(per_minute, gap_s):
    bucket = MinuteBucket(per_minute)
    for n in range(20):
        assert bucket.starts_at(1, n * gap_s) == n * gap_s
        bucket.take(1, n * gap_s)


def test_tokens_put_back_can_be_taken_again():
    pace = Pace(rpm=None, tpm=6_000)
    pace.take(3_000, now=0.0)
    late = pace.starts_at(100, now=0.0)
    pace.put_back_tokens(2_990)
    assert pace.starts_at(100, now=0.0) < late / 10


def test_no_limit_is_no_wait():
    pace = Pace(rpm=None, tpm=None)
    pace.take(10**9, now=5.0)
    assert pace.starts_at(10**9, now=5.0) == 5.0


@given(
    ceiling=st.integers(1, 300),
    events=st.lists(st.tuples(st.booleans(), st.floats(0, 5), st.integers(0, 300)), max_size=300),
)
def test_the_limit_stays_between_one_and_its_ceiling_whatever_comes(ceiling, events):
    limit, now = AdaptiveLimit(ceiling=ceiling), 0.0
    for good, gap_s, in_flight in events:
        now += gap_s
        before = limit.limit
        if good:
            limit.on_success(now, in_flight)
            assert before <= limit.limit <= before + 1
        else:
            limit.on_overload(now)
            assert limit.limit <= before
        assert 1 <= limit.limit <= ceiling


def a_round(limit: AdaptiveLimit, now: float) -> None:
    for _ in range(limit.limit):
        limit.on_success(now, in_flight=limit.limit)


def test_it_doubles_a_round_until_the_first_overload_then_adds_one_a_round():
    limit = AdaptiveLimit(start=16, ceiling=1000, rest_s=15)
    for expected in (32, 64, 128):
        a_round(limit, now=0.0)
        assert limit.limit == expected
    limit.on_overload(now=1.0)
    assert limit.limit == 102
    a_round(limit, now=20.0)
    a_round(limit, now=21.0)
    assert limit.limit == 104


def test_one_burst_of_refusals_cuts_once_and_nothing_grows_while_it_rests():
    limit = AdaptiveLimit(start=100, ceiling=1000, rest_s=15)
    for _ in range(50):
        limit.on_overload(now=0.0)
    a_round(limit, now=14.9)
    assert limit.limit == 80
    limit.on_overload(now=15.0)
    assert limit.limit == 64


def test_it_does_not_grow_while_it_is_not_what_holds_requests_back():
    limit = AdaptiveLimit(start=16, ceiling=1000)
    for _ in range(100):
        limit.on_success(now=0.0, in_flight=15)
    assert limit.limit == 16


def test_a_round_of_replies_lets_in_twice_as_many_though_each_waits_for_its_record(
    tmp_path, make_chat, ask_of, in_virtual_time, chat_completion
):
    class Judge:
        in_flight = most_in_flight = 0

        async def post(self, *_, **__):
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            await asyncio.sleep(0.2)
            self.in_flight -= 1
            return HttpReply(status=200, headers={}, body=json.dumps(chat_completion("s")).encode())

    async def run():
        judge = Judge()
        async with Ledger(tmp_path / "ledger.sqlite") as ledger:
            chat = make_chat(judge, ledger=ledger, start_in_flight=16)
            await asyncio.gather(*(ask_of(chat, later(60)) for _ in range(16 + 32 + 64 + 128)))
        assert judge.most_in_flight > 64

    in_virtual_time(run())


def slots(places: int) -> Slots:
    return Slots(AdaptiveLimit(start=places, ceiling=places))


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_no_more_are_in_flight_than_there_are_places_and_they_go_in_order():
    async def run():
        places, order, most = slots(3), [], 0

        async def one(n: int) -> None:
            nonlocal most
            assert await places.take(later(30))
            order.append(n)
            most = max(most, places.in_flight)
            await asyncio.sleep(0)
            places.give_back()

        await asyncio.gather(*(one(n) for n in range(50)))
        assert most == 3
        assert order == list(range(50))
        assert places.in_flight == 0

    asyncio.run(run())


def test_a_place_that_does_not_come_in_time_is_not_taken():
    async def run():
        places = slots(1)
        assert await places.take(later(30))
        assert not await places.take(later(0.01))
        places.give_back()
        assert places.in_flight == 0
        assert places.take_if_free()

    asyncio.run(run())


@pytest.mark.parametrize("granted_first", [False, True])
def test_one_who_is_cancelled_leaves_no_place_taken(granted_first):
    async def run():
        places = slots(1)
        assert await places.take(later(30))
        waiting = asyncio.ensure_future(places.take(later(30)))
        behind = asyncio.ensure_future(places.take(later(30)))
        await asyncio.sleep(0)
        if granted_first:
            places.give_back()  # the place is the first one's, which has not run yet
        waiting.cancel()
        await asyncio.sleep(0)
        if not granted_first:
            places.give_back()
        assert await behind
        assert places.in_flight == 1

    asyncio.run(run())
