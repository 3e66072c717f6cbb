"""What stands before each attempt: breaker, budget, pace, intent; and the second one when late."""

import asyncio
import json
from collections import Counter

import pytest

from judges.client.budget import Budget, BudgetExceeded
from judges.client.chat import Answer
from judges.client.http import HttpReply
from judges.verdict import FaultCause, Faulty


def soon(seconds: float = 20.0) -> float:
    return asyncio.get_running_loop().time() + seconds


DEAD = {"failures_to_open": 4, "breaker_rest_s": 0.05, "retries": 0}


def test_a_dead_judge_is_left_alone_where_another_can_be_asked(troubled, ask_of):
    async def run():
        server = troubled(always=(500, {}))
        async with server.chat(**DEAD | {"breaker_rest_s": 60.0}) as chat:
            outcomes = [await ask_of(chat, soon()) for _ in range(20)]
            assert {outcome.cause for outcome in outcomes[4:]} == {FaultCause.BREAKER_OPEN}
            assert len(server.bodies) == 4
            assert chat.breaker.is_open

    asyncio.run(run())


def test_a_dead_judge_is_probed_after_its_rest_and_a_good_probe_lets_all_in_again(troubled, ask_of):
    async def run():
        server = troubled(script=[(500, {})] * 4)
        async with server.chat(**DEAD) as chat:
            for _ in range(4):
                await ask_of(chat, soon())
            assert (await ask_of(chat, soon())).cause is FaultCause.BREAKER_OPEN
            await asyncio.sleep(0.1)
            outcomes = await asyncio.gather(*(ask_of(chat, soon()) for _ in range(9)))
            answered = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
            assert len(answered) == 1  # the probe; the others did not wait for it
            assert (await ask_of(chat, soon())).said == "said"

    asyncio.run(run())


def test_a_dead_judges_pace_does_not_hold_back_those_who_could_ask_another(troubled, ask_of):
    async def run():
        server = troubled(always=(500, {}))
        manners = DEAD | {"breaker_rest_s": 60.0, "rpm": 60}
        async with server.chat(**manners, start_in_flight=64) as chat:
            begun = asyncio.get_running_loop().time()
            for _ in range(4):
                await ask_of(chat, soon())
            waited_s = asyncio.get_running_loop().time() - begun
            calls = [ask_of(chat, soon()) for _ in range(40)]
            causes = {outcome.cause for outcome in await asyncio.gather(*calls)}
            assert causes == {FaultCause.BREAKER_OPEN}
            assert asyncio.get_running_loop().time() - begun - waited_s < 1.0  # 40 s by the pace

    asyncio.run(run())


def test_a_request_that_is_not_sent_takes_no_place_in_the_pace(troubled, ask_of):
    async def run():
        server = troubled(always=(500, {}))
        manners = DEAD | {"failures_to_open": 1, "breaker_rest_s": 60.0}
        async with server.chat(**manners, rpm=600) as chat:
            burst = [ask_of(chat, soon()) for _ in range(14)]
            await asyncio.gather(
                *burst
            )  # the last of them find the breaker open when their turn comes
            assert len(server.bodies) < 14
            pace = chat.pace
            now = asyncio.get_running_loop().time()
            assert pace.starts_at(0, now) - now < 0.1 * (len(server.bodies) - 9)

    asyncio.run(run())


@pytest.mark.slow
def test_the_pace_holds_after_an_outage_too(in_virtual_time, make_chat, ask_of, chat_completion):
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
            body = json.dumps(chat_completion("said")).encode()
            return HttpReply(status=200, headers={}, body=body)

    async def insist(chat):
        for _ in range(3600):
            if isinstance(await ask_of(chat, soon(3600)), Answer):
                return
            await asyncio.sleep(1.0)

    async def run():
        transport = Back()
        manners = {"rpm": 60, "retries": 0, "start_in_flight": 256, "failures_to_open": 1}
        chat = make_chat(transport, **manners)
        await asyncio.gather(*(insist(chat) for _ in range(200)))
        return transport.answered_at_s

    answered_at_s = in_virtual_time(run())
    for earlier, later in zip(answered_at_s, answered_at_s[60:], strict=False):
        assert later - earlier >= 59.9


def test_a_refusal_is_a_sign_of_life(troubled, ask_of):
    async def run():
        server = troubled(script=[(500, {}), (500, {}), (500, {}), (401, {})], always=(500, {}))
        async with server.chat(**DEAD) as chat:
            for _ in range(7):
                await ask_of(chat, soon())
            assert not chat.breaker.is_open

    asyncio.run(run())


def test_the_budget_stops_calls_before_it_is_exceeded(troubled, ask_of):
    async def run():
        server = troubled(latency_s=0.01)
        async with server.chat(budget=Budget(max_calls=5)) as chat:
            calls = [ask_of(chat, soon()) for _ in range(20)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 5
            assert sum(isinstance(outcome, BudgetExceeded) for outcome in outcomes) == 15
            assert len(server.bodies) == 5
            assert chat.slots.in_flight == 0

    asyncio.run(run())


def test_retries_are_calls_too(troubled, ask_of):
    async def run():
        server = troubled(always=(500, {}))
        async with server.chat(budget=Budget(max_calls=3), retries=9) as chat:
            with pytest.raises(BudgetExceeded):
                await ask_of(chat, soon())
            assert len(server.bodies) == 3

    asyncio.run(run())


def test_what_was_not_billed_is_released_and_what_may_have_been_is_not(troubled, ask_of):
    async def spent_after(always, **manners):
        budget = Budget()
        server = troubled(always=always)
        async with server.chat(budget, retries=0, **manners) as chat:
            await ask_of(chat, soon())
        return budget.spent.usd

    async def run():
        assert await spent_after((500, {})) == 0.0
        assert await spent_after((504, {})) == await spent_after((524, {})) > 0
        assert await spent_after("reset") > 0
        assert await spent_after("hang", timeout_s=0.05) > 0
        assert await spent_after((200, {})) > 0  # it does not say what it was

    asyncio.run(run())


RESET = Faulty(FaultCause.RESET, "r")
TIMED_OUT = Faulty(FaultCause.TIMEOUT, "t")


class Scripted:
    """A transport that does what it is told to, in virtual time: a status, or an error to raise."""

    def __init__(self, *script, latency_s=0.01):
        self.script = list(script)
        self.latency_s = latency_s
        self.bodies = []

    async def post(self, url, *, body, **_):
        self.bodies.append(body)
        await asyncio.sleep(self.latency_s)
        does = self.script.pop(0) if self.script else 200
        if isinstance(does, Exception):
            raise does
        said = {"choices": [{"message": {"content": "said"}, "finish_reason": "stop"}]}
        return HttpReply(status=does, headers={}, body=json.dumps(said).encode())


def test_each_attempt_that_may_have_been_billed_for_nothing_stays_on_the_bill(
    make_chat, ask_of, in_virtual_time
):
    async def spent_after(*script):
        budget = Budget()
        chat = make_chat(Scripted(*script), budget=budget)
        assert (await ask_of(chat, soon())).said == "said"
        return budget.spent

    async def run():
        return await spent_after(), await spent_after(RESET, 500, 429, TIMED_OUT)

    once, thrice = in_virtual_time(run())
    assert (once.calls, thrice.calls) == (1, 5)
    assert thrice.usd == pytest.approx(3 * once.usd)


def test_the_pace_holds_calls_back_and_names_those_it_leaves_no_time(troubled, ask_of):
    async def run():
        server = troubled()
        async with server.chat(rpm=1200) as chat:  # a burst of 20, then one each 50 ms
            begun = asyncio.get_running_loop().time()
            deadline = soon(0.2)
            calls = [ask_of(chat, deadline) for _ in range(40)]
            outcomes = await asyncio.gather(*calls)
            causes = {out.cause for out in outcomes if isinstance(out, Faulty)}
            assert causes == {FaultCause.DEADLINE}
            in_time = [time for time in server.times_s if time - begun < 0.2]
            assert len(in_time) <= 20 + 4

    asyncio.run(run())


class Notes:
    """In a ledger's place: remembers what it was told of, and holds up the note of one attempt."""

    def __init__(self, server, held_up=None):
        self.asked_before = []
        self.ended = Counter()
        self._server = server
        self._held_up = held_up

    def find(self, key):
        return None

    async def asked(self, *_, **__):
        self.asked_before.append(len(self._server.bodies))
        if len(self.asked_before) == self._held_up:
            await asyncio.Event().wait()
        await asyncio.sleep(0.01)

    def scored(self, *_):
        return self._note("scored")

    def fault(self, key, attempt, cause, usage):
        return self._note("unsent" if usage is None else "fault")

    def _note(self, kind):
        self.ended[kind] += 1
        return asyncio.ensure_future(asyncio.sleep(0))


def test_what_must_be_on_disk_first_is_awaited_before_each_attempt(troubled, ask_of):
    async def run():
        server = troubled(script=[(500, {}), "reset"])
        notes = Notes(server)
        async with server.chat(ledger=notes) as chat:
            await ask_of(chat, soon())
        assert notes.asked_before == [0, 1, 2]
        assert notes.ended == {"fault": 2, "scored": 1}

    asyncio.run(run())


async def learn_what_late_is(chat, ask_of) -> None:
    for _ in range(60):
        await ask_of(chat, soon())


def test_a_late_call_is_sent_again_and_the_first_reply_counts(troubled, ask_of):
    async def run():
        server = troubled()
        async with server.chat(hedge_share=0.2) as chat:
            await learn_what_late_is(chat, ask_of)
            for _ in range(3):
                server.script = ["hang"]
                assert (await ask_of(chat, soon())).said == "said"
            await asyncio.sleep(0)
            assert chat.hedging.hedges >= 3
            assert chat.slots.in_flight == 0

    asyncio.run(run())


def test_a_failed_first_leaves_its_hedge_to_answer(troubled, ask_of):
    async def run():
        server = troubled()
        async with server.chat(hedge_share=0.2, retries=0) as chat:
            await learn_what_late_is(chat, ask_of)
            server.latency_s = 0.3
            server.script = ["reset"]
            assert (await ask_of(chat, soon())).said == "said"

    asyncio.run(run())


def test_hedges_are_a_share_of_calls_and_no_more(troubled, ask_of):
    async def run():
        server = troubled()
        async with server.chat(hedge_share=0.05, timeout_s=1.0, retries=0) as chat:
            await learn_what_late_is(chat, ask_of)
            server.always = "hang"
            await asyncio.gather(*(ask_of(chat, soon()) for _ in range(10)))
            assert 1 <= chat.hedging.hedges <= 0.05 * chat.hedging.calls

    asyncio.run(run())


def test_no_hedging_without_a_share(troubled, ask_of):
    async def run():
        server = troubled()
        async with server.chat(timeout_s=0.2, retries=0) as chat:
            await learn_what_late_is(chat, ask_of)
            server.always = "hang"
            await ask_of(chat, soon())
            assert chat.hedging.hedges == 0

    asyncio.run(run())


def test_a_hedge_that_was_not_sent_gives_its_money_back(make_chat, ask_of, in_virtual_time):
    budget, once = Budget(max_calls=1000), Budget()

    async def run():
        await ask_of(make_chat(Scripted(), budget=once), soon(), "k")
        transport = Scripted(latency_s=0.3)
        notes = Notes(transport, held_up=2)  # the first has left, the hedge's note is never written
        chat = make_chat(transport, budget=budget, hedge_share=1.0, ledger=notes)
        chat.hedging.late_s = 0.03
        await ask_of(chat, soon(), "k")
        return notes, len(transport.bodies), chat.slots.in_flight

    notes, posts, in_flight = in_virtual_time(run())
    assert (len(notes.asked_before), posts, in_flight) == (2, 1, 0)
    assert notes.ended == {"scored": 1, "unsent": 1}
    spent = budget.spent
    assert (spent.calls, spent.tokens) == (once.spent.calls, once.spent.tokens)
    assert spent.usd == pytest.approx(once.spent.usd)


def test_of_two_replies_at_once_the_one_not_taken_is_on_the_bill(
    make_chat, ask_of, chat_completion
):
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
            body = json.dumps(chat_completion("said")).encode()
            return HttpReply(status=200, headers={}, body=body)

    async def run():
        transport, budget = AtOnce(), Budget()
        chat = make_chat(transport, budget=budget, hedge_share=1.0)
        chat.hedging.late_s = 0.01
        await ask_of(chat, soon())
        return transport.posts, budget.spent

    posts, spent = asyncio.run(run())
    assert posts == 2
    assert (spent.calls, spent.tokens) == (2, 2 * 110)


def test_a_request_timeout_is_tried_again(troubled, ask_of):
    async def run():
        server = troubled(script=[(408, {})])
        async with server.chat() as chat:
            return await ask_of(chat, soon())

    assert asyncio.run(run()).said == "said"
