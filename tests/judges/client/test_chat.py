"""An ask to a real server that refuses, fails, hangs and hangs up when told to."""

import asyncio
import gc
from email.utils import formatdate

import pytest
from aiohttp import web

from judges.client.http import Transport
from judges.verdict import FaultCause


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def one(server, ask_of, **manners):
    async def run():
        async with server.chat(**manners) as chat:
            return await ask_of(chat, soon())

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after-ms": "80"}, 0.08),
        ({"retry-after": "0.08"}, 0.08),
        ({"retry-after": formatdate(1001, usegmt=True), "date": formatdate(1000, usegmt=True)}, 1),
        ({}, 0.0),
    ],
    ids=["milliseconds", "seconds", "date", "not said"],
)
def test_a_429_is_asked_again_and_never_before_it_said(troubled, headers, wait_s, ask_of):
    server = troubled(script=[(429, headers)])
    assert one(server, ask_of).said == "said"
    first, second = server.times_s
    assert second - first >= wait_s


def test_a_429_is_waited_out_however_often_it_comes(troubled, ask_of):
    server = troubled(script=[(429, {"retry-after-ms": "1"})] * 12)
    assert one(server, ask_of, retries=2).said == "said"


@pytest.mark.parametrize("trouble", [(500, {}), (503, {}), (529, {}), "reset", "truncate"])
def test_what_may_pass_is_asked_again(troubled, trouble, ask_of):
    server = troubled(script=[trouble, trouble])
    assert one(server, ask_of).said == "said"
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("always", "cause"),
    [
        ((500, {}), FaultCause.SERVER_ERROR),
        ("reset", FaultCause.RESET),
        ("truncate", FaultCause.RESET),
        ("hang", FaultCause.TIMEOUT),
    ],
)
def test_what_does_not_pass_is_named_after_every_retry(troubled, always, cause, ask_of):
    server = troubled(always=always)
    outcome = one(server, ask_of, retries=2, timeout_s=0.05)
    assert outcome.cause is cause
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [307, 400, 401, 404, 422])
def test_what_would_not_change_is_handed_over_at_once(troubled, status, ask_of):
    server = troubled(always=(status, {}))
    fault = one(server, ask_of)
    assert fault.cause is (FaultCause.AUTH if status == 401 else FaultCause.BAD_REQUEST)
    assert f"HTTP {status}" in fault.detail
    assert len(server.bodies) == 1


def test_an_empty_account_is_not_asked_again(troubled, ask_of):
    async def empty(request):
        return web.json_response({"error": {"code": "insufficient_quota"}}, status=429)

    server = troubled()
    server.handle = empty
    outcome = one(server, ask_of)
    assert outcome.cause is FaultCause.RATE_LIMITED
    assert "insufficient_quota" in outcome.detail


def test_a_wait_beyond_the_deadline_is_not_begun(troubled, ask_of):
    async def run():
        server = troubled(always=(429, {"retry-after": "3600"}))
        async with server.chat() as chat:
            deadline = soon(30.0)
            outcome = await ask_of(chat, deadline)
            assert outcome.cause is FaultCause.RATE_LIMITED
            assert asyncio.get_running_loop().time() < deadline - 20
            assert chat.slots.in_flight == 0

    asyncio.run(run())


def test_at_the_deadline_all_are_named_those_in_flight_and_those_still_waiting(troubled, ask_of):
    async def run():
        server = troubled(always="hang")
        async with server.chat(max_in_flight=3) as chat:
            deadline = soon(0.3)
            calls = [ask_of(chat, deadline) for n in range(20)]
            outcomes = await asyncio.gather(*calls)
            assert {outcome.cause for outcome in outcomes} == {FaultCause.DEADLINE}
            assert len(server.bodies) == 3
            assert chat.slots.in_flight == 0

    asyncio.run(run())


def test_nobody_there_is_named(make_chat, ask_of):
    async def run():
        async with Transport() as transport:
            chat = make_chat(transport, "http://127.0.0.1:1/", retries=1)
            assert (await ask_of(chat, soon())).cause is FaultCause.CONNECT
            assert chat.troubles == {"connect": 2}

    asyncio.run(run())


def test_the_concurrency_starts_small_grows_to_its_ceiling_and_no_further(troubled, ask_of):
    async def run():
        server = troubled(latency_s=0.03)
        async with server.chat(start_in_flight=4, max_in_flight=20) as chat:
            first = [ask_of(chat, soon()) for n in range(4)]
            await asyncio.gather(*first)
            assert server.most_in_flight <= 4
            await asyncio.gather(*(ask_of(chat, soon()) for _ in range(300)))
            assert server.most_in_flight == chat.limit.limit == 20

    asyncio.run(run())


@pytest.mark.parametrize("trouble", [(429, {"retry-after-ms": "1"}), (503, {}), "hang"])
def test_overload_cuts_the_concurrency(troubled, trouble, ask_of):
    async def run():
        server = troubled(script=[trouble])
        async with server.chat(start_in_flight=10, timeout_s=0.1) as chat:
            assert (await ask_of(chat, soon())).said == "said"
            assert chat.limit.limit == 8

    asyncio.run(run())


def test_equal_requests_in_flight_share_one_reply(troubled, ask_of):
    async def run():
        server = troubled(latency_s=0.02)
        async with server.chat() as chat:
            twins = ["a", "a", "b", "a"]
            calls = [ask_of(chat, soon(), twin) for twin in twins]
            replies = await asyncio.gather(*calls)
            assert sorted(server.bodies) == ["a", "b"]
            assert [reply.cached for reply in replies] == [False, True, False, True]
            assert not (await ask_of(chat, soon(), "a")).cached

    asyncio.run(run())


def test_when_the_one_who_asked_is_cancelled_an_equal_request_asks_itself(troubled, ask_of):
    async def run():
        server = troubled(latency_s=0.05)
        async with server.chat() as chat:
            first = asyncio.ensure_future(ask_of(chat, soon(), "a"))
            second = asyncio.ensure_future(ask_of(chat, soon(), "a"))
            await asyncio.sleep(0.01)
            first.cancel()
            reply = await second
            assert (reply.said, reply.cached) == ("said", False)

    asyncio.run(run())


def test_an_equal_request_with_more_time_outlives_the_deadline_of_the_first(troubled, ask_of):
    async def run():
        server = troubled(script=["hang"])
        # On a busy machine the first is out of time before it is sent, and the other meets "hang".
        async with server.chat(timeout_s=2) as chat:
            hasty = ask_of(chat, soon(0.05), "a")
            patient = ask_of(chat, soon(20), "a")
            outcomes = await asyncio.gather(hasty, patient)
            assert outcomes[0].cause is FaultCause.DEADLINE
            assert outcomes[1].said == "said"

    asyncio.run(run())


def test_an_answered_ask_leaves_nothing_that_has_to_be_searched_for_to_be_freed(troubled, ask_of):
    async def run():
        async with troubled().chat() as chat:
            await ask_of(chat, soon())
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            for _ in range(8):
                assert (await ask_of(chat, soon())).said == "said"
            gc.collect()

    try:
        asyncio.run(run())
        left = {type(each).__name__ for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert not left & {"AsyncRetrying", "Request", "Response", "Ask", "Answer", "Reply"}
