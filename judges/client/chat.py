"""One judge, asked: from an ask to its answer, or to the fault that says why there is none.

Read it from top to bottom. An ask is answered by the ledger, or by an equal ask under way, or it
goes out: it takes a slot and is attempted until it is answered or patience ends. An attempt is
admitted, its worst cost set aside and written down, posted, billed, read and written down.

Raised are Faulty, a spent budget, and a ledger that cannot be written.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from judges.client.backends import BLOT, Backend, endpoint, secrets_in
from judges.client.books import Attempt, Books
from judges.client.features import Features, Terms, refused
from judges.client.hedge import Hedging, first_to_answer
from judges.client.http import HttpReply, Transport
from judges.client.limits import AdaptiveLimit, Breaker, Pace, Pass, Slots
from judges.client.retry import LesserTerms, Patience, Transient, retry_after_s
from judges.client.wire import WIRES, Ask, Reply, in_its_format, read_reply
from judges.verdict import FREE, FaultCause, Faulty, Usage

T = TypeVar("T")

LIMITED = (402, 429)
OVERLOADED = (429, 503, 529)
GAVE_UP = (504, 524)
"""A gateway that waited no longer: what stands behind it may have answered, and billed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """What a judge said, read."""

    said: T
    usage: Usage = FREE
    """Its bill, paid now or, if cached, when it was first asked."""
    cached: bool = True
    """From the ledger, or shared with an equal ask: paid elsewhere."""


class Chat:
    def __init__(
        self,
        backend: Backend,
        books: Books,
        http: Transport | None,
        *,
        logprobs: bool = False,
        retries: int = 5,
        backoff_s: float = 0.5,
        hedge_share: float = 0.0,
        limit: AdaptiveLimit | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        """Without `http`, only what the ledger holds is known."""
        self.backend = backend
        self.books = books
        self.terms = Terms(backend, WIRES[backend.wire].forms, logprobs=logprobs)
        self.limit = limit or AdaptiveLimit(ceiling=backend.max_in_flight)
        self.slots = Slots(self.limit)
        self.pace = Pace(rpm=backend.rpm, tpm=backend.tpm)
        self.breaker = breaker or Breaker()
        self.hedging = Hedging(hedge_share)
        self.attempts = 0
        self.troubles: Counter[str] = Counter()
        self.usage = FREE
        """All bills, whether or not a verdict came of them."""
        self.fingerprint = ""
        """What its server says of what it runs, if it does."""
        self._http = http
        self._retries = retries
        self._backoff_s = backoff_s
        self._wire = WIRES[backend.wire]
        self._url = endpoint(backend.url or "", self._wire.path)
        self._url_secrets = secrets_in(self._url)
        self._turn = asyncio.Lock()
        self._gave_logprobs = False
        self._under_way: dict[str, asyncio.Future[Answer[Any] | Faulty | None]] = {}

    async def ask(self, ask: Ask, read: Callable[[Reply], T], deadline: float) -> Answer[T]:
        """`deadline` is a time of the loop's clock. `read` raises Faulty where it cannot."""
        if (recorded := self._recorded(ask, read)) is not None:
            return recorded
        while (twin := self._under_way.get(ask.key)) is not None:
            try:
                async with asyncio.timeout_at(deadline):
                    outcome = await asyncio.shield(twin)
            except TimeoutError:
                why = "an equal request was not answered"
                raise Faulty(FaultCause.DEADLINE, why) from None
            if isinstance(outcome, Faulty):
                raise Faulty(outcome.cause, outcome.detail)
            if outcome is not None:  # else it was given up, and this one is to try itself
                return replace(outcome, cached=True)
        mine = self._under_way[ask.key] = asyncio.get_running_loop().create_future()
        outcome = None
        try:
            outcome = await self._answered(ask, read, deadline)
            return outcome
        except Faulty as fault:
            outcome = None if fault.cause is FaultCause.DEADLINE else fault
            raise
        finally:
            del self._under_way[ask.key]
            mine.set_result(outcome)

    def _recorded(self, ask: Ask, read: Callable[[Reply], T]) -> Answer[T] | None:
        """What the ledger holds. What cannot be read any more is asked again, if it can be."""
        ledger = self.books.ledger
        if ledger and (stored := ledger.find(ask.key)):
            try:
                reply = self._replied(stored)
                return Answer(said=read(reply), usage=reply.usage)
            except Faulty:
                if self._http is None:
                    raise
        if self._http is None:
            raise Faulty(FaultCause.NOT_RECORDED, "the ledger holds no answer to this request")
        return None

    async def _answered(self, ask: Ask, read: Callable[[Reply], T], deadline: float) -> Answer[T]:
        if not await self.slots.take(deadline):
            raise Faulty(FaultCause.DEADLINE, "its turn did not come in time")
        patience = Patience(retries=self._retries, backoff_s=self._backoff_s, deadline=deadline)
        try:
            return await patience.retried(self._attempt, ask, read, patience)
        finally:
            self.slots.give_back()

    async def _attempt(self, ask: Ask, read: Callable[[Reply], T], patience: Patience) -> Answer[T]:
        """Raises Transient where asking again may help. Sent twice at once if it is late."""
        features = self.terms.now.of(logprobs=ask.logprobs)
        body, worst = in_its_format(self.backend, ask, features)
        admitted = await self._admitted(worst.tokens, patience.deadline)

        async def exchange() -> Answer[T]:
            async with Attempt(self.books, ask, worst) as attempt:
                http = await self._posted(body, attempt, admitted, patience)
                return self._read(http, features, attempt, read)

        async def hedge() -> Answer[T]:
            try:
                return await exchange()
            finally:
                self.slots.give_back()

        try:
            late_s = self.hedging.late_s
            if late_s is None or admitted is Pass.PROBE:
                return await exchange()
            may_hedge = self._may_hedge
            return await first_to_answer(
                exchange(), lambda: hedge() if may_hedge(worst.tokens) else None, late_s
            )
        finally:
            self.breaker.on_abandoned(admitted)

    async def _admitted(self, tokens: int, deadline: float) -> Pass:
        """One after another, so that the pace is taken at the moment of sending and not before."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline), self._turn:
                wait_s = self.pace.starts_at(tokens, loop.time()) - loop.time()
                if wait_s > 0 and not self.breaker.refuses(loop.time()):
                    await asyncio.sleep(wait_s)
                return self._pass(tokens)
        except TimeoutError:
            raise Faulty(FaultCause.DEADLINE, "rpm and tpm leave it no place in time") from None

    def _pass(self, tokens: int) -> Pass:
        now = asyncio.get_running_loop().time()
        if (admitted := self.breaker.admit(now)) is Pass.NO:
            raise Faulty(FaultCause.BREAKER_OPEN, "the judge is down")
        self.pace.take(tokens, now)
        return admitted

    def _may_hedge(self, tokens: int) -> bool:
        """Only with what is free this instant: a place and the pace. The budget may yet refuse."""
        now = asyncio.get_running_loop().time()
        if self.pace.starts_at(tokens, now) > now or not self.hedging.may_take:
            return False
        if not self.slots.take_if_free():
            return False
        self.hedging.hedges += 1
        self.pace.take(tokens, now)
        return True

    async def _posted(
        self, body: bytes, attempt: Attempt, admitted: Pass, patience: Patience
    ) -> HttpReply:
        """A reply that says something: an answer or a refusal."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        left_s = patience.deadline - started
        if left_s <= 0:
            raise Faulty(FaultCause.DEADLINE, "the deadline came before it was sent")
        self.attempts += 1
        self.hedging.calls += not patience.was_sent
        patience.was_sent = attempt.is_sent = True
        assert self._http
        try:
            http = await self._http.post(
                self._url,
                headers=self._wire.headers(self.backend),
                body=body,
                timeout_s=min(self.backend.timeout_s, left_s),
            )
        except Faulty as fault:
            self.troubles[fault.cause] += 1
            now = loop.time()
            attempt.is_sent = fault.cause is not FaultCause.CONNECT
            if fault.cause is FaultCause.TIMEOUT:
                if now >= patience.deadline:  # cut short, which says nothing about the judge
                    raise Faulty(FaultCause.DEADLINE, "no reply before the deadline") from None
                self.limit.on_overload(now)
            self.breaker.on_failure(admitted, now)
            raise Transient(fault.cause, fault.detail) from None
        http = self._blotted(http)
        if http.status >= 500 or http.status in (408, *LIMITED):
            raise self._trouble(http, attempt, admitted)
        self.breaker.on_alive()
        self.slots.on_success(loop.time())
        self.hedging.on_success(loop.time() - started)
        return http

    def _trouble(self, http: HttpReply, attempt: Attempt, admitted: Pass) -> Faulty:
        now = asyncio.get_running_loop().time()
        is_limited = http.status in LIMITED
        cause = FaultCause.RATE_LIMITED if is_limited else FaultCause.SERVER_ERROR
        self.troubles[cause] += 1
        if http.status not in GAVE_UP:
            attempt.bill(FREE)
        if http.status in OVERLOADED:
            self.limit.on_overload(now)
        if is_limited:
            self.breaker.on_alive()
        else:
            self.breaker.on_failure(admitted, now)
        detail = f"HTTP {http.status}: {_head(http)}"
        if http.status == 402 or (is_limited and b"insufficient_quota" in http.body):
            return Faulty(cause, detail)  # the account is empty, and no waiting fills it
        return Transient(cause, detail, wait_s=retry_after_s(http.headers))

    def _read(
        self, http: HttpReply, features: Features, attempt: Attempt, read: Callable[[Reply], T]
    ) -> Answer[T]:
        if http.status >= 300:
            attempt.bill(FREE)
            raise self._refusal(http, features, attempt.ask)
        try:
            reply = self._replied(http.body)
        except Faulty as fault:
            self._pay(attempt, fault.usage)
            raise
        self._pay(attempt, reply.usage)
        if features.logprobs and reply.logprobs is None:
            raise self._without_logprobs(reply, features)
        self._gave_logprobs |= reply.logprobs is not None
        try:
            said = read(reply)
        except Faulty as fault:
            fault.usage = reply.usage
            raise
        attempt.reply = http.body
        return Answer(said=said, usage=reply.usage, cached=False)

    def _replied(self, body: bytes) -> Reply:
        reply = read_reply(self.backend, body)
        self.fingerprint = reply.fingerprint or self.fingerprint
        return reply

    def _pay(self, attempt: Attempt, bill: Usage) -> None:
        if bill != FREE:  # where it does not say, it counts at its worst
            attempt.bill(bill)
            self.pace.put_back_tokens(attempt.worst.tokens - bill.tokens)
            self.usage += bill

    def _refusal(self, http: HttpReply, features: Features, ask: Ask) -> Faulty:
        detail = f"HTTP {http.status}: {_head(http)}"
        feature = refused(http.status, http.body, features, ask.request)
        if feature and self.terms.give_up(feature, features, f"it refuses: {_head(http)!r}"):
            return LesserTerms(FaultCause.BAD_REQUEST, detail)
        if http.status in (401, 403):
            return Faulty(FaultCause.AUTH, detail)
        if b"content_filter" in http.body:
            return Faulty(FaultCause.CONTENT_FILTER, detail)
        return Faulty(FaultCause.BAD_REQUEST, detail)

    def _without_logprobs(self, reply: Reply, features: Features) -> Faulty:
        """Neither an empty reply nor one after others that had them says that there are none."""
        fault = Faulty(FaultCause.NO_LOGPROBS, "the reply holds none", reply.usage)
        if not reply.text.strip() or self._gave_logprobs:
            return fault
        self.terms.give_up("logprobs", features, "its replies hold none")
        return LesserTerms(fault.cause, fault.detail)

    def _blotted(self, http: HttpReply) -> HttpReply:
        """Some servers say a key aloud, in their errors."""
        body = http.body
        for secret in (self.backend.key() or "", *self._url_secrets):
            if secret and (said := secret.encode()) in body:
                body = body.replace(said, BLOT.encode())
        return http if body is http.body else replace(http, body=body)


def _head(http: HttpReply) -> str:
    return http.body[:200].decode("utf-8", "replace")
