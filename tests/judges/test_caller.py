"""The caller against a real server that refuses, fails, hangs and hangs up when told to."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate

import pytest
from aiohttp import web

from judges.budget import Budget, BudgetExceeded
from judges.caller import Call, Caller, CallFailure, Manners
from judges.transport import HttpReply, Transport
from judges.verdict import FaultCause, Usage

QUICK = {"backoff_s": 0.01, "rest_s": 15.0}


@dataclass
class Server:
    """Answers by a script: (status, headers), or a word for worse. Then 200 for ever."""

    script: list[tuple[int, dict[str, str]] | str] = field(default_factory=list)
    always: tuple[int, dict[str, str]] | str = (200, {})
    latency_s: float = 0.0
    bodies: list[str] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.times_s.append(asyncio.get_running_loop().time())
        self.bodies.append(await request.text())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
            return await self.act(request, self.script.pop(0) if self.script else self.always)
        finally:
            self.in_flight -= 1

    async def act(self, request, what):
        if what == "hang":
            await asyncio.sleep(60)
        if what == "reset":
            request.transport.abort()
            return web.Response()
        if what == "truncate":
            reply = web.StreamResponse(headers={"content-length": "100"})
            await reply.prepare(request)
            await reply.write(b'{"choices"')
            request.transport.abort()
            return reply
        status, headers = what
        return web.Response(status=status, headers=headers, text=f"body {status}")


@asynccontextmanager
async def calling(server: Server, budget: Budget | None = None, **manners):
    app = web.Application()
    app.router.add_post("/", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with Transport() as transport:
            yield Caller(transport, Manners(**{**QUICK, **manners}), budget=budget)
    finally:
        await runner.cleanup()


def call_to(server: Server, body: str = "{}", **more) -> Call:
    return Call(url=server.url, headers={"x-key": "secret"}, body=body.encode(), **more)


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


def one(server: Server, **manners) -> HttpReply | CallFailure:
    async def run():
        async with calling(server, **manners) as caller:
            return await caller.call(call_to(server), soon())

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
def test_a_429_is_asked_again_and_never_before_it_said(headers, wait_s):
    server = Server(script=[(429, headers)])
    assert one(server).status == 200
    first, second = server.times_s
    assert second - first >= wait_s


def test_a_429_is_waited_out_however_often_it_comes():
    server = Server(script=[(429, {"retry-after-ms": "1"})] * 12)
    assert one(server, retries=2).status == 200


@pytest.mark.parametrize("trouble", [(500, {}), (503, {}), (529, {}), "reset", "truncate"])
def test_what_may_pass_is_asked_again(trouble):
    server = Server(script=[trouble, trouble])
    assert one(server).status == 200
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
def test_what_does_not_pass_is_named_after_every_retry(always, cause):
    server = Server(always=always)
    outcome = one(server, retries=2, timeout_s=0.05)
    assert outcome.cause is cause
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [200, 307, 400, 401, 404, 422])
def test_what_would_not_change_is_handed_over_at_once(status):
    server = Server(always=(status, {}))
    assert one(server).status == status
    assert len(server.bodies) == 1


def test_an_empty_account_is_not_asked_again():
    async def empty(request):
        return web.json_response({"error": {"code": "insufficient_quota"}}, status=429)

    server = Server()
    server.handle = empty
    outcome = one(server)
    assert outcome.cause is FaultCause.RATE_LIMITED
    assert "insufficient_quota" in outcome.detail


def test_a_wait_beyond_the_deadline_is_not_begun():
    async def run():
        server = Server(always=(429, {"retry-after": "3600"}))
        async with calling(server) as caller:
            deadline = soon(30.0)
            outcome = await caller.call(call_to(server), deadline)
            assert outcome.cause is FaultCause.RATE_LIMITED
            assert asyncio.get_running_loop().time() < deadline - 20
            assert caller.stats().in_flight == 0

    asyncio.run(run())


def test_at_the_deadline_all_are_named_those_in_flight_and_those_still_waiting():
    async def run():
        server = Server(always="hang")
        async with calling(server, max_in_flight=3) as caller:
            deadline = soon(0.3)
            calls = [caller.call(call_to(server, str(n)), deadline) for n in range(20)]
            outcomes = await asyncio.gather(*calls)
            assert {outcome.cause for outcome in outcomes} == {FaultCause.DEADLINE}
            assert len(server.bodies) == 3
            assert caller.stats().in_flight == caller.stats().waiting == 0

    asyncio.run(run())


def test_nobody_there_is_named():
    async def run():
        async with Transport() as transport:
            caller = Caller(transport, Manners(**QUICK, retries=1))
            call = Call(url="http://127.0.0.1:1/", headers={}, body=b"")
            assert (await caller.call(call, soon())).cause is FaultCause.CONNECT
            assert caller.stats().troubles == {"connect": 2}

    asyncio.run(run())


def test_the_concurrency_starts_small_grows_to_its_ceiling_and_no_further():
    async def run():
        server = Server(latency_s=0.005)
        async with calling(server, start_in_flight=4, max_in_flight=20) as caller:
            first = [caller.call(call_to(server, str(n)), soon()) for n in range(4)]
            await asyncio.gather(*first)
            assert server.most_in_flight <= 4
            await asyncio.gather(*(caller.call(call_to(server), soon()) for _ in range(300)))
            assert server.most_in_flight == caller.stats().limit == 20

    asyncio.run(run())


@pytest.mark.parametrize("trouble", [(429, {"retry-after-ms": "1"}), (503, {}), "hang"])
def test_overload_cuts_the_concurrency(trouble):
    async def run():
        server = Server(script=[trouble])
        async with calling(server, start_in_flight=10, timeout_s=0.1) as caller:
            assert (await caller.call(call_to(server), soon())).status == 200
            assert caller.stats().limit == 8

    asyncio.run(run())


def test_equal_requests_in_flight_share_one_reply():
    async def run():
        server = Server(latency_s=0.02)
        async with calling(server) as caller:
            keys = ["a", "a", "b", "a"]
            calls = [caller.call(call_to(server, key, key=key), soon()) for key in keys]
            replies = await asyncio.gather(*calls)
            assert sorted(server.bodies) == ["a", "b"]
            assert [reply.shared for reply in replies] == [False, True, False, True]
            assert not (await caller.call(call_to(server, key="a"), soon())).shared

    asyncio.run(run())


def test_when_the_one_who_asked_is_cancelled_an_equal_request_asks_itself():
    async def run():
        server = Server(latency_s=0.05)
        async with calling(server) as caller:
            first = asyncio.ensure_future(caller.call(call_to(server, key="a"), soon()))
            second = asyncio.ensure_future(caller.call(call_to(server, key="a"), soon()))
            await asyncio.sleep(0.01)
            first.cancel()
            reply = await second
            assert (reply.status, reply.shared) == (200, False)

    asyncio.run(run())


def test_an_equal_request_with_more_time_outlives_the_deadline_of_the_first():
    async def run():
        server = Server(script=["hang"])
        async with calling(server) as caller:
            hasty = caller.call(call_to(server, key="a"), soon(0.05))
            patient = caller.call(call_to(server, key="a"), soon(20))
            outcomes = await asyncio.gather(hasty, patient)
            assert outcomes[0].cause is FaultCause.DEADLINE
            assert outcomes[1].status == 200

    asyncio.run(run())


DEAD = {"failures_to_open": 4, "breaker_rest_s": 0.05, "retries": 0}


def test_a_dead_judge_is_left_alone_where_another_can_be_asked():
    async def run():
        server = Server(always=(500, {}))
        async with calling(server, **DEAD, wait_when_down=False) as caller:
            outcomes = [await caller.call(call_to(server), soon()) for _ in range(20)]
            assert {outcome.cause for outcome in outcomes[4:]} == {FaultCause.BREAKER_OPEN}
            assert len(server.bodies) == 4
            assert caller.stats().breaker_open
            server.always = (200, {})
            await asyncio.sleep(0.06)
            assert (await caller.call(call_to(server), soon())).status == 200
            assert not caller.stats().breaker_open

    asyncio.run(run())


def test_a_dead_judge_is_waited_for_where_there_is_no_other():
    async def run():
        server = Server(script=[(500, {})] * 5)
        async with calling(server, **DEAD) as caller:
            for _ in range(4):
                await caller.call(call_to(server), soon())
            assert caller.stats().breaker_open
            calls = [caller.call(call_to(server), soon()) for _ in range(10)]
            outcomes = await asyncio.gather(*calls)
            # The first probe fails, the second one finds it alive, and all go through.
            assert sum(isinstance(outcome, HttpReply) for outcome in outcomes) == 9
            assert len(server.bodies) == 4 + 1 + 9

    asyncio.run(run())


def test_a_refusal_is_a_sign_of_life():
    async def run():
        server = Server(script=[(500, {}), (500, {}), (500, {}), (401, {})], always=(500, {}))
        async with calling(server, **DEAD, wait_when_down=False) as caller:
            for _ in range(7):
                await caller.call(call_to(server), soon())
            assert not caller.stats().breaker_open

    asyncio.run(run())


def test_the_budget_stops_calls_before_it_is_exceeded():
    async def run():
        server = Server(latency_s=0.01)
        async with calling(server, budget=Budget(max_calls=5)) as caller:
            calls = [caller.call(call_to(server), soon()) for _ in range(20)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(outcome, HttpReply) for outcome in outcomes) == 5
            assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 15
            assert len(server.bodies) == 5
            assert caller.stats().in_flight == 0

    asyncio.run(run())


def test_retries_are_calls_too():
    async def run():
        server = Server(always=(500, {}))
        async with calling(server, budget=Budget(max_calls=3), retries=9) as caller:
            with pytest.raises(BudgetExceeded):
                await caller.call(call_to(server), soon())
            assert len(server.bodies) == 3

    asyncio.run(run())


def test_what_was_not_billed_is_released_and_what_may_have_been_is_not():
    async def spent_after(always, **manners):
        worst = Usage(input_tokens=100, usd=1.0)
        budget = Budget()
        server = Server(always=always)
        async with calling(server, budget=budget, retries=0, **manners) as caller:
            await caller.call(call_to(server, worst=worst), soon())
        return budget.spent().usd

    async def run():
        assert await spent_after((500, {})) == 0.0
        assert await spent_after("reset") == 1.0
        assert await spent_after("hang", timeout_s=0.05) == 1.0
        assert await spent_after((200, {})) == 1.0  # until settle() says what it was

    asyncio.run(run())


def test_the_pace_holds_calls_back_and_names_those_it_leaves_no_time():
    async def run():
        server = Server()
        async with calling(server, rpm=1200) as caller:  # a burst of 20, then one each 50 ms
            begun = asyncio.get_running_loop().time()
            deadline = soon(0.2)
            calls = [caller.call(call_to(server), deadline) for _ in range(40)]
            outcomes = await asyncio.gather(*calls)
            causes = {out.cause for out in outcomes if isinstance(out, CallFailure)}
            assert causes == {FaultCause.DEADLINE}
            in_time = [time for time in server.times_s if time - begun < 0.2]
            assert len(in_time) <= 20 + 4

    asyncio.run(run())


def test_what_must_be_on_disk_first_is_awaited_before_each_attempt():
    async def run():
        notes: list[int] = []
        server = Server(script=[(500, {}), "reset"])

        async def note() -> None:
            await asyncio.sleep(0.01)
            notes.append(len(server.bodies))

        async with calling(server) as caller:
            await caller.call(call_to(server, before_send=note), soon())
        assert notes == [0, 1, 2]

    asyncio.run(run())


async def learn_what_late_is(caller: Caller, server: Server) -> None:
    for _ in range(60):
        await caller.call(call_to(server), soon())


def test_a_late_call_is_sent_again_and_the_first_reply_counts():
    async def run():
        server = Server()
        async with calling(server, hedge_share=0.2) as caller:
            await learn_what_late_is(caller, server)
            for _ in range(3):
                server.script = ["hang"]
                assert (await caller.call(call_to(server), soon())).status == 200
            await asyncio.sleep(0)
            assert caller.stats().hedges >= 3
            assert caller.stats().in_flight == 0

    asyncio.run(run())


def test_a_failed_first_leaves_its_hedge_to_answer():
    async def run():
        server = Server()
        async with calling(server, hedge_share=0.2, retries=0) as caller:
            await learn_what_late_is(caller, server)
            server.latency_s = 0.3
            server.script = ["reset"]
            assert (await caller.call(call_to(server), soon())).status == 200

    asyncio.run(run())


def test_hedges_are_a_share_of_calls_and_no_more():
    async def run():
        server = Server()
        async with calling(server, hedge_share=0.05, timeout_s=0.3, retries=0) as caller:
            await learn_what_late_is(caller, server)
            server.always = "hang"
            await asyncio.gather(*(caller.call(call_to(server), soon()) for _ in range(10)))
            stats = caller.stats()
            assert 1 <= stats.hedges <= 0.05 * stats.calls

    asyncio.run(run())


def test_no_hedging_without_a_share():
    async def run():
        server = Server()
        async with calling(server, timeout_s=0.2, retries=0) as caller:
            await learn_what_late_is(caller, server)
            server.always = "hang"
            await caller.call(call_to(server), soon())
            assert caller.stats().hedges == 0

    asyncio.run(run())


def test_a_call_shows_no_header():
    assert "secret" not in repr(call_to(Server()))
