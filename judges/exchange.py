"""A prompt out, a reply back: through the ledger, the caller, and what the backend can do."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from judges.abilities import Abilities, Terms
from judges.backends import Backend, endpoint, secrets_in
from judges.caller import Call, Caller, CallFailure
from judges.client.http import HttpReply
from judges.ledger import Ledger, Setup
from judges.prompt import Prompt
from judges.verdict import FREE, FaultCause, Faulty, JudgeRequest, Usage
from judges.wire import LABEL_TOKENS, WIRES, Ask, Json, Reply, read_reply, worst_bill

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Means:
    """What asking takes. No caller: only what the ledger holds is known."""

    caller: Caller | None
    ledger: Ledger | None
    setup: Setup
    spent: Callable[[Usage], None]
    """Told of every bill, whether or not a verdict came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, however often and in whatever form it takes to get a reply."""

    key: str
    request: JudgeRequest
    prompt: Callable[[], Prompt]
    schema: Json
    temperature: float
    max_tokens: int
    may_be_logprobs: bool
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    key: str
    reply: Reply
    raw: bytes
    cached: bool
    """From the ledger, or shared with an equal request in flight: paid elsewhere."""
    cost: Usage = FREE
    """At most: the bill, and the worst of attempts whose bill never came."""


class Exchange:
    def __init__(self, backend: Backend, abilities: Abilities, means: Means) -> None:
        self._backend = backend
        self._abilities = abilities
        self._means = means
        self._wire = WIRES[backend.wire]
        self._url = endpoint(backend.url or "", self._wire.path)
        self._url_secrets = secrets_in(self._url)

    async def read(
        self, question: Question, deadline: float, read: Callable[[Reply], T]
    ) -> tuple[T, Answer]:
        """What the reply says, from the ledger or asked for. What it cannot say is asked again."""
        means = self._means
        if means.ledger and (stored := means.ledger.find(question.key)):
            try:
                reply = read_reply(self._backend, stored.reply)
                found = Answer(key=question.key, reply=reply, raw=stored.reply, cached=True)
                return read(reply), found
            except Faulty:
                if means.caller is None:
                    raise
        answer = await self._answer(question, deadline)
        return await self._conclude(answer, read), answer

    async def _answer(self, question: Question, deadline: float) -> Answer:
        """In a lesser form where the backend refuses the best."""
        means = self._means
        if means.caller is None:
            raise Faulty(FaultCause.NOT_RECORDED, "the ledger holds no answer to this request")
        lost: list[Usage] = []
        while True:
            terms = self._abilities.terms(may_be_logprobs=question.may_be_logprobs)
            call = self._call(question, terms, lost)
            http = await self._sent(means.caller, call, deadline)
            if http.status >= 300:
                if not http.shared:
                    means.caller.settle(call, FREE)
                if self._abilities.lower(http, terms, question.request):
                    continue
                raise await self._recorded(call, _refusal(http), http.shared)
            reply = await self._read(means.caller, call, http)
            if terms.logprobs and not self._abilities.found_logprobs(reply):
                missing = Faulty(FaultCause.NO_LOGPROBS, "the reply holds none", reply.usage)
                await self._recorded(call, missing, http.shared)
                if not self._abilities.may_lose_logprobs(reply):
                    raise missing
                self._abilities.lose_logprobs("its replies hold none")
                continue
            return Answer(
                key=question.key,
                reply=reply,
                raw=http.body,
                cached=http.shared,
                cost=sum(call.lost, reply.usage),
            )

    async def _conclude(self, answer: Answer, read: Callable[[Reply], T]) -> T:
        """What the reply says, once the ledger has it, or has the fault that it is."""
        ledger = None if answer.cached else self._means.ledger
        try:
            result = read(answer.reply)
        except Faulty as fault:
            if ledger:
                await ledger.fault(answer.key, fault.cause, answer.cost)
            raise Faulty(fault.cause, fault.detail, answer.reply.usage) from None
        if ledger:
            await ledger.scored(answer.key, answer.raw, answer.cost)
        return result

    def _call(self, question: Question, terms: Terms, lost: list[Usage]) -> Call:
        ask = Ask(
            prompt=question.prompt(),
            schema=question.schema,
            form=terms.form,
            logprobs=terms.logprobs,
            temperature=question.temperature if terms.temperature else None,
            max_tokens=LABEL_TOKENS if terms.logprobs else question.max_tokens,
            seed=question.seed,
        )
        body = json.dumps(self._wire.body(self._backend, ask)).encode()
        worst = worst_bill(self._backend, body, question.request, ask.max_tokens)
        ledger = self._means.ledger
        note = (
            partial(ledger.asked, question.key, self._means.setup, question.request, worst)
            if ledger
            else None
        )
        return Call(
            url=self._url,
            headers=self._wire.headers(self._backend),
            body=body,
            key=question.key,
            twin=f"{question.key} {terms}",
            lost=lost,
            worst=worst,
            before_send=note,
            secrets=(*filter(None, [self._backend.key()]), *self._url_secrets),
        )

    async def _sent(self, caller: Caller, call: Call, deadline: float) -> HttpReply:
        outcome = await caller.call(call, deadline)
        if isinstance(outcome, CallFailure):
            fault = Faulty(outcome.cause, outcome.detail)
            raise await self._recorded(call, fault, outcome.shared)
        return outcome

    async def _read(self, caller: Caller, call: Call, http: HttpReply) -> Reply:
        try:
            reply = read_reply(self._backend, http.body)
        except Faulty as fault:
            self._pay(caller, call, http, fault.usage)
            raise await self._recorded(call, fault, http.shared) from None
        self._pay(caller, call, http, reply.usage)
        return reply

    def _pay(self, caller: Caller, call: Call, http: HttpReply, bill: Usage) -> None:
        if http.shared:
            return
        if bill == FREE:  # it does not say, so it counts at its worst
            call.lost.append(call.worst)
            return
        caller.settle(call, bill)
        self._means.spent(bill)

    async def _recorded(self, call: Call, fault: Faulty, shared: bool) -> Faulty:
        if self._means.ledger and not shared:
            await self._means.ledger.fault(call.key, fault.cause, sum(call.lost, fault.usage))
        return fault


def _refusal(http: HttpReply) -> Faulty:
    said = http.body[:2000].decode("utf-8", "replace")
    if http.status in (401, 403):
        cause = FaultCause.AUTH
    elif "content_filter" in said:
        cause = FaultCause.CONTENT_FILTER
    else:
        cause = FaultCause.BAD_REQUEST
    return Faulty(cause, f"HTTP {http.status}: {said[:200]}")
