"""What stands before each attempt: breaker, budget, pace, intent; and the second one when late."""

import asyncio

import pytest

from judges.budget import Budget, BudgetExceeded
from judges.caller import Call, Caller, CallFailure, Manners
from judges.client.http import HttpReply
from judges.verdict import FaultCause, Usage


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


DEAD = {"failures_to_open": 4, "breaker_rest_s": 0.05, "retries": 0}


def test_a_dead_judge_is_left_alone_where_another_can_be_asked(troubled):
    async def run():
        server = troubled(always=(500, {}))
        async with server.caller(**DEAD | {"breaker_rest_s": 60.0}) as caller:
            outcomes = [await caller.call(server.call(), soon()) for _ in range(20)]
            assert {outcome.cause for outcome in outcomes[4:]} == {FaultCause.BREAKER_OPEN}
            assert len(server.bodies) == 4
            assert caller.stats().breaker_open

    asyncio.run(run())


def test_a_dead_judge_is_probed_after_its_rest_and_a_good_probe_lets_all_in_again(troubled):
    async def run():
        server = troubled(script=[(500, {})] * 4)
        async with server.caller(**DEAD) as caller:
            for _ in range(4):
                await caller.call(server.call(), soon())
            assert (await caller.call(server.call(), soon())).cause is FaultCause.BREAKER_OPEN
            await asyncio.sleep(0.1)
            outcomes = await asyncio.gather(*(caller.call(server.call(), soon()) for _ in range(9)))
            answered = [outcome for outcome in outcomes if isinstance(outcome, HttpReply)]
            assert len(answered) == 1  # the probe; the others did not wait for it
            assert (await caller.call(server.call(), soon())).status == 200

    asyncio.run(run())


def test_a_dead_judges_pace_does_not_hold_back_those_who_could_ask_another(troubled):
    async def run():
        server = troubled(always=(500, {}))
        manners = DEAD | {"breaker_rest_s": 60.0, "rpm": 60}
        async with server.caller(**manners, start_in_flight=64) as caller:
            begun = asyncio.get_running_loop().time()
            for _ in range(4):
                await caller.call(server.call(), soon())
            waited_s = asyncio.get_running_loop().time() - begun
            calls = [caller.call(server.call(), soon()) for _ in range(40)]
            causes = {outcome.cause for outcome in await asyncio.gather(*calls)}
            assert causes == {FaultCause.BREAKER_OPEN}
            assert asyncio.get_running_loop().time() - begun - waited_s < 1.0  # 40 s by the pace

    asyncio.run(run())


def test_a_request_that_is_not_sent_takes_no_place_in_the_pace(troubled):
    async def run():
        server = troubled(always=(500, {}))
        manners = DEAD | {"failures_to_open": 1, "breaker_rest_s": 60.0}
        async with server.caller(**manners, rpm=600) as caller:
            burst = [caller.call(server.call(), soon()) for _ in range(14)]
            await asyncio.gather(
                *burst
            )  # the last of them find the breaker open when their turn comes
            assert len(server.bodies) < 14
            pace = caller._sender.pace
            now = asyncio.get_running_loop().time()
            assert pace.starts_at(0, now) - now < 0.1 * (len(server.bodies) - 9)

    asyncio.run(run())


def test_the_pace_holds_after_an_outage_too(in_virtual_time):
    class Back:
        """Down for five minutes. It remembers when it was asked after that."""

        def __init__(self):
            self.answered_at_s = []

        async def post(self, url, **_):
            await asyncio.sleep(0.01)
            now = asyncio.get_running_loop().time()
            if now < 300:
                return HttpReply(status=500, headers={}, body=b"")
            self.answered_at_s.append(now)
            return HttpReply(status=200, headers={}, body=b"")

    async def insist(caller):
        while True:
            call = Call(url="", headers={}, body=b"")
            if isinstance(await caller.call(call, soon(3600)), HttpReply):
                return
            await asyncio.sleep(1.0)

    async def run():
        transport = Back()
        manners = Manners(rpm=60, retries=0, start_in_flight=256, failures_to_open=1)
        caller = Caller(transport, manners)
        await asyncio.gather(*(insist(caller) for _ in range(200)))
        return transport.answered_at_s

    answered_at_s = in_virtual_time(run())
    for earlier, later in zip(answered_at_s, answered_at_s[60:], strict=False):
        assert later - earlier >= 59.9


def test_a_refusal_is_a_sign_of_life(troubled):
    async def run():
        server = troubled(script=[(500, {}), (500, {}), (500, {}), (401, {})], always=(500, {}))
        async with server.caller(**DEAD) as caller:
            for _ in range(7):
                await caller.call(server.call(), soon())
            assert not caller.stats().breaker_open

    asyncio.run(run())


def test_the_budget_stops_calls_before_it_is_exceeded(troubled):
    async def run():
        server = troubled(latency_s=0.01)
        async with server.caller(budget=Budget(max_calls=5)) as caller:
            calls = [caller.call(server.call(), soon()) for _ in range(20)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(outcome, HttpReply) for outcome in outcomes) == 5
            assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 15
            assert len(server.bodies) == 5
            assert caller.stats().in_flight == 0

    asyncio.run(run())


def test_retries_are_calls_too(troubled):
    async def run():
        server = troubled(always=(500, {}))
        async with server.caller(budget=Budget(max_calls=3), retries=9) as caller:
            with pytest.raises(BudgetExceeded):
                await caller.call(server.call(), soon())
            assert len(server.bodies) == 3

    asyncio.run(run())


def test_what_was_not_billed_is_released_and_what_may_have_been_is_not(troubled):
    async def spent_after(always, **manners):
        worst = Usage(input_tokens=100, usd=1.0)
        budget = Budget()
        server = troubled(always=always)
        async with server.caller(budget=budget, retries=0, **manners) as caller:
            await caller.call(server.call(worst=worst), soon())
        return budget.spent().usd

    async def run():
        assert await spent_after((500, {})) == 0.0
        assert await spent_after((504, {})) == await spent_after((524, {})) == 1.0
        assert await spent_after("reset") == 1.0
        assert await spent_after("hang", timeout_s=0.05) == 1.0
        assert await spent_after((200, {})) == 1.0  # until settle() says what it was

    asyncio.run(run())


def test_a_call_knows_which_of_its_attempts_may_have_been_billed_for_nothing(troubled):
    async def run():
        worst = Usage(input_tokens=100)
        server = troubled(script=["reset", (500, {}), (429, {}), "hang"])
        async with server.caller(timeout_s=0.1) as caller:
            call = server.call(worst=worst)
            assert (await caller.call(call, soon())).status == 200
            assert call.lost == [worst, worst]

    asyncio.run(run())


def test_the_pace_holds_calls_back_and_names_those_it_leaves_no_time(troubled):
    async def run():
        server = troubled()
        async with server.caller(rpm=1200) as caller:  # a burst of 20, then one each 50 ms
            begun = asyncio.get_running_loop().time()
            deadline = soon(0.2)
            calls = [caller.call(server.call(), deadline) for _ in range(40)]
            outcomes = await asyncio.gather(*calls)
            causes = {out.cause for out in outcomes if isinstance(out, CallFailure)}
            assert causes == {FaultCause.DEADLINE}
            in_time = [time for time in server.times_s if time - begun < 0.2]
            assert len(in_time) <= 20 + 4

    asyncio.run(run())


def test_what_must_be_on_disk_first_is_awaited_before_each_attempt(troubled):
    async def run():
        notes: list[int] = []
        server = troubled(script=[(500, {}), "reset"])

        async def note() -> None:
            await asyncio.sleep(0.01)
            notes.append(len(server.bodies))

        async with server.caller() as caller:
            await caller.call(server.call(before_send=note), soon())
        assert notes == [0, 1, 2]

    asyncio.run(run())


async def learn_what_late_is(caller: Caller, server) -> None:
    for _ in range(60):
        await caller.call(server.call(), soon())


def test_a_late_call_is_sent_again_and_the_first_reply_counts(troubled):
    async def run():
        server = troubled()
        async with server.caller(hedge_share=0.2) as caller:
            await learn_what_late_is(caller, server)
            for _ in range(3):
                server.script = ["hang"]
                assert (await caller.call(server.call(), soon())).status == 200
            await asyncio.sleep(0)
            assert caller.stats().hedges >= 3
            assert caller.stats().in_flight == 0

    asyncio.run(run())


def test_a_failed_first_leaves_its_hedge_to_answer(troubled):
    async def run():
        server = troubled()
        async with server.caller(hedge_share=0.2, retries=0) as caller:
            await learn_what_late_is(caller, server)
            server.latency_s = 0.3
            server.script = ["reset"]
            assert (await caller.call(server.call(), soon())).status == 200

    asyncio.run(run())


def test_hedges_are_a_share_of_calls_and_no_more(troubled):
    async def run():
        server = troubled()
        async with server.caller(hedge_share=0.05, timeout_s=1.0, retries=0) as caller:
            await learn_what_late_is(caller, server)
            server.always = "hang"
            await asyncio.gather(*(caller.call(server.call(), soon()) for _ in range(10)))
            stats = caller.stats()
            assert 1 <= stats.hedges <= 0.05 * stats.calls

    asyncio.run(run())


def test_no_hedging_without_a_share(troubled):
    async def run():
        server = troubled()
        async with server.caller(timeout_s=0.2, retries=0) as caller:
            await learn_what_late_is(caller, server)
            server.always = "hang"
            await caller.call(server.call(), soon())
            assert caller.stats().hedges == 0

    asyncio.run(run())


def test_a_hedge_that_was_not_sent_gives_its_money_back(troubled):
    budget = Budget(max_calls=1000)

    async def run():
        server = troubled()
        notes = []

        async def note():
            notes.append("asked")
            if len(notes) == 2:  # the first has left, and the hedge's note never gets written
                await asyncio.Event().wait()

        async with server.caller(budget, hedge_share=1.0) as caller:
            caller._sender.hedging.late_s = 0.01
            server.latency_s = 0.3
            await caller.call(server.call(worst=Usage(usd=1.0), before_send=note), soon())
            return len(notes), len(server.bodies), budget.spent().usd

    assert asyncio.run(run()) == (2, 1, 1.0)


def test_of_two_replies_at_once_the_one_not_taken_is_on_the_bill():
    class AtOnce:
        """A transport whose replies all come in the same turn of the loop."""

        def __init__(self):
            self.gate = asyncio.Event()
            self.posts = 0

        async def post(self, url, **_):
            self.posts += 1
            if self.posts == 2:
                self.gate.set()
            await self.gate.wait()
            return HttpReply(status=200, headers={}, body=b"")

    async def run():
        transport = AtOnce()
        caller = Caller(transport, Manners(hedge_share=1.0))
        caller._sender.hedging.late_s = 0.01
        call = Call(url="", headers={}, body=b"", worst=Usage(usd=1.0))
        await caller.call(call, soon())
        return transport.posts, call.lost

    assert asyncio.run(run()) == (2, [Usage(usd=1.0)])


def test_a_request_timeout_is_tried_again(troubled):
    async def run():
        server = troubled(script=[(408, {})])
        async with server.caller() as caller:
            return await caller.call(server.call(), soon())

    assert asyncio.run(run()).status == 200
