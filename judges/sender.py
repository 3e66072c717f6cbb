"""One attempt at a call: pace, breaker, budget, and a second request when the first is late."""

import asyncio
from collections import Counter
from dataclasses import replace

from judges.backends import BLOT
from judges.breaker import Breaker, Pass
from judges.budget import Budget, BudgetExceeded
from judges.call import Call, CallFailure, Manners, Passing
from judges.client.http import HttpReply, TimedOut, Transport, TransportError
from judges.hedge import Hedging
from judges.limits import AdaptiveLimit, Pace, Slots
from judges.retry import retry_after_s
from judges.verdict import FaultCause

Outcome = HttpReply | CallFailure | Passing

_LIMITED = (402, 429)
_OVERLOADED = (429, 503, 529)
_GAVE_UP = (504, 524)
"""A gateway that waited no longer: what stands behind it may have answered, and billed it."""


class Sender:
    def __init__(self, transport: Transport, manners: Manners, budget: Budget) -> None:
        self._transport = transport
        self._manners = manners
        self._budget = budget
        self.limit = AdaptiveLimit(
            start=manners.start_in_flight, ceiling=manners.max_in_flight, rest_s=manners.rest_s
        )
        self.slots = Slots(self.limit)
        self.pace = Pace(rpm=manners.rpm, tpm=manners.tpm)
        self.breaker = Breaker(
            failures_to_open=manners.failures_to_open, rest_s=manners.breaker_rest_s
        )
        self._turn = asyncio.Lock()
        self.hedging = Hedging(manners.hedge_share)
        self.attempts = 0
        self.troubles: Counter[str] = Counter()

    async def attempt(self, call: Call, deadline: float) -> Outcome:
        try:
            async with asyncio.timeout_at(deadline):
                admitted = await self._admit(call.worst.tokens)
        except TimeoutError:
            return _too_late("rpm and tpm leave it no place before the deadline")
        if admitted is Pass.NO:
            return _DOWN
        try:
            self._budget.reserve(call.worst)
            late_s = self.hedging.late_s
            if late_s is None or admitted is Pass.PROBE:
                return await self._send(call, admitted, deadline)
            return await self._send_hedged(call, deadline, late_s)
        finally:
            self.breaker.on_abandoned(admitted)

    async def _admit(self, tokens: int) -> Pass:
        """One after another, so that the pace is taken at the moment of sending and not before."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            wait_s = self.pace.starts_at(tokens, loop.time()) - loop.time()
            if wait_s > 0 and not self.breaker.refuses(loop.time()):
                await asyncio.sleep(wait_s)
            admitted = self.breaker.admit(loop.time())
            if admitted is not Pass.NO:
                self.pace.take(tokens, loop.time())
            return admitted

    async def _send(self, call: Call, admitted: Pass, deadline: float) -> Outcome:
        if call.before_send is not None:
            try:
                await call.before_send()
            except BaseException:
                self._budget.unsent(call.worst)
                raise
        loop = asyncio.get_running_loop()
        started = loop.time()
        left_s = deadline - started
        if left_s <= 0:
            self._budget.unsent(call.worst)
            return _too_late("the deadline came before it was sent")
        self.attempts += 1
        self.hedging.calls += not call.is_sent
        call.is_sent = True
        try:
            reply = await self._transport.post(
                call.url,
                headers=call.headers,
                body=call.body,
                timeout_s=min(self._manners.timeout_s, left_s),
            )
        except TransportError as error:
            return self._on_no_reply(call, error, admitted, deadline)
        except asyncio.CancelledError:
            call.lost.append(call.worst)
            raise
        now = loop.time()
        for secret in map(str.encode, call.secrets):
            if secret in reply.body:
                reply = replace(reply, body=reply.body.replace(secret, BLOT.encode()))
        if reply.status >= 500 or reply.status in (408, *_LIMITED):
            return self._on_trouble(call, reply, admitted, now)
        self.breaker.on_alive()
        self.limit.on_success(now, self.slots.in_flight)
        self.hedging.on_success(now - started)
        return reply

    def _on_no_reply(
        self, call: Call, error: TransportError, admitted: Pass, deadline: float
    ) -> CallFailure | Passing:
        now = asyncio.get_running_loop().time()
        self.troubles[error.cause] += 1
        if error.cause is FaultCause.CONNECT:  # nobody was there to bill it
            self._budget.unsent(call.worst)
        else:
            call.lost.append(call.worst)
        if isinstance(error, TimedOut):
            if now >= deadline:  # cut short, which says nothing about the judge
                return _too_late("no reply before the deadline")
            self.limit.on_overload(now)
        self.breaker.on_failure(admitted, now)
        return Passing(failure=CallFailure(cause=error.cause, detail=str(error)))

    def _on_trouble(
        self, call: Call, reply: HttpReply, admitted: Pass, now: float
    ) -> CallFailure | Passing:
        rate_limited = reply.status in _LIMITED
        cause = FaultCause.RATE_LIMITED if rate_limited else FaultCause.SERVER_ERROR
        self.troubles[cause] += 1
        if reply.status in _GAVE_UP:
            call.lost.append(call.worst)
        else:
            self._budget.release(call.worst)
        if reply.status in _OVERLOADED:
            self.limit.on_overload(now)
        if rate_limited:
            self.breaker.on_alive()
        else:
            self.breaker.on_failure(admitted, now)
        said = reply.body[:160].decode("utf-8", "replace")
        failure = CallFailure(cause=cause, detail=f"HTTP {reply.status}: {said}")
        if reply.status == 402 or (rate_limited and b"insufficient_quota" in reply.body):
            return failure  # the account is empty, and no waiting fills it
        return Passing(failure=failure, wait_s=retry_after_s(reply.headers))

    async def _send_hedged(self, call: Call, deadline: float, late_s: float) -> Outcome:
        first = asyncio.ensure_future(self._send(call, Pass.YES, deadline))
        both, taken = {first}, None
        try:
            await asyncio.wait(both, timeout=late_s)
            if not first.done() and self._may_hedge(call):
                both.add(asyncio.ensure_future(self._send_second(call, deadline)))
            for earliest in asyncio.as_completed(both):
                taken = await earliest
                if isinstance(taken, HttpReply):
                    return taken
            return first.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)  # so that what the slower one may have cost is known
            replies = [_reply_of(task) for task in both]
            call.lost += [call.worst for reply in replies if reply and reply is not taken]

    def _may_hedge(self, call: Call) -> bool:
        """Only with what is free this instant: a place, the pace, the budget."""
        now = asyncio.get_running_loop().time()
        if self.pace.starts_at(call.worst.tokens, now) > now or not self.hedging.may_take:
            return False
        if not self.slots.take_if_free():
            return False
        try:
            self._budget.reserve(call.worst)
        except BudgetExceeded:
            self.slots.give_back()
            return False
        self.hedging.hedges += 1
        self.pace.take(call.worst.tokens, now)
        return True

    async def _send_second(self, call: Call, deadline: float) -> Outcome:
        try:
            return await self._send(call, Pass.YES, deadline)
        finally:
            self.slots.give_back()


def _reply_of(task: asyncio.Future[Outcome]) -> HttpReply | None:
    if task.cancelled() or task.exception() is not None:
        return None
    outcome = task.result()
    return outcome if isinstance(outcome, HttpReply) else None


_DOWN = CallFailure(cause=FaultCause.BREAKER_OPEN, detail="the judge is down")


def _too_late(detail: str) -> CallFailure:
    return CallFailure(cause=FaultCause.DEADLINE, detail=detail)
