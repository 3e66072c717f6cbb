"""One backend, one model: puts a request in its words, sends it, grades the reply."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from judges.backends import FORMS, Backend, Form
from judges.config import JudgeConfig
from judges.grade import (
    CLAIMS_SCHEMA,
    grade_logprobs,
    grade_reply,
    read_claims,
    verdict_schema,
)
from judges.prompt import Prompt, commitment_prompt, grading_prompt
from judges.rubric import Rubric
from judges.transport import HttpReply, TransportError
from judges.verdict import FaultCause, Faulty, JudgeRequest, Scored, Usage
from judges.wire import WIRES, Ask, Json, Reply

log = logging.getLogger("judges")

LABEL_TOKENS = 4
"""Room for a letter and the white space some models put before it."""
_FORM_REFUSED = re.compile(
    r"response_format|json_schema|json_object|structured|grammar|guided|tool|schema", re.IGNORECASE
)
_LOGPROBS_REFUSED = re.compile(r"log_?probs", re.IGNORECASE)


class Send(Protocol):
    async def __call__(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> HttpReply: ...


class Asker:
    """`spent` is told of every reply's usage, whether or not a verdict came of it."""

    def __init__(
        self,
        backend: Backend,
        rubric: Rubric,
        config: JudgeConfig,
        *,
        send: Send,
        spent: Callable[[Usage], None],
    ) -> None:
        assert backend.url
        self.backend = backend
        self._rubric = rubric
        self._config = config
        self._send = send
        self._spent = spent
        self._wire = WIRES[backend.wire]
        self._url = backend.url.rstrip("/") + self._wire.path
        self._form: Form = backend.form
        self._labels = config.grading == "labels"
        self._claims: dict[tuple[str, str, str], asyncio.Task[str]] = {}

    async def ask(self, request: JudgeRequest, *, sample: int = 0) -> Scored:
        """Raises Faulty where there is no verdict."""
        started_s = time.monotonic()
        claims = await self._committed(request) if self._config.commit_first else ""
        reply, labels = await self._graded_reply(request, claims, sample)
        try:
            graded = (grade_logprobs if labels else grade_reply)(reply, self._rubric)
        except Faulty as fault:
            raise Faulty(fault.cause, fault.detail, reply.usage) from None
        return Scored(
            tier=graded.tier,
            score=graded.score,
            rationale=graded.rationale,
            latency_s=time.monotonic() - started_s,
            usage=reply.usage,
        )

    async def _graded_reply(
        self, request: JudgeRequest, claims: str, sample: int
    ) -> tuple[Reply, bool]:
        """The reply, and whether it is to be read from its log-probs."""
        while True:
            labels = self._labels
            prompt = grading_prompt(
                request,
                self._rubric,
                "labels" if labels else "schema",
                defences=self._config.defences,
                claims=claims,
            )
            reply = await self._call(prompt, verdict_schema(self._rubric), labels, sample)
            if reply is None:
                continue  # it refused the way it was asked, and is now asked for less
            if labels and reply.logprobs is None:
                self._lose_labels("its replies hold no log-probs")
                continue
            return reply, labels

    async def _committed(self, request: JudgeRequest) -> str:
        """What the judge will look for, written once a question, before it saw any answer."""
        key = (request.question, request.truth, request.lang)
        if key not in self._claims:
            self._claims[key] = asyncio.create_task(self._commit(request))
        try:
            return await asyncio.shield(self._claims[key])
        except Faulty:
            self._claims.pop(key, None)
            raise

    async def _commit(self, request: JudgeRequest) -> str:
        prompt = commitment_prompt(request, self._rubric)
        reply = None
        while reply is None:
            reply = await self._call(prompt, CLAIMS_SCHEMA, False, 0)
        return read_claims(reply)

    async def _call(self, prompt: Prompt, schema: Json, labels: bool, sample: int) -> Reply | None:
        """None where the backend refused the form of the question, and a lesser one is left."""
        config = self._config
        ask = Ask(
            prompt=prompt,
            schema=schema,
            form=self._form,
            logprobs=labels,
            temperature=config.sampling_temperature,
            max_tokens=LABEL_TOKENS if labels else config.max_reply_tokens,
            seed=sample if config.samples > 1 else None,
        )
        try:
            http = await self._send(
                self._url,
                headers=self._wire.headers(self.backend),
                body=json.dumps(self._wire.body(self.backend, ask)).encode(),
                timeout_s=self.backend.timeout_s,
            )
        except TransportError as error:
            raise Faulty(error.cause, str(error)) from None
        if http.status >= 400:
            if self._ask_for_less(http, ask):
                return None
            raise _refusal(http, self.backend.key())
        reply = self._wire.read(self.backend, http.body)
        self._spent(reply.usage)
        return reply

    def _ask_for_less(self, http: HttpReply, ask: Ask) -> bool:
        said = _head(http)
        if http.status not in (400, 404, 415, 422, 501):
            return False
        if ask.logprobs and _LOGPROBS_REFUSED.search(said):
            self._lose_labels(f"it refuses them: {said[:160]!r}")
            return True
        if ask.logprobs or ask.form == "text" or not _FORM_REFUSED.search(said):
            return False
        if self._form == ask.form:  # the first of those in flight to hear it
            self._form = FORMS[FORMS.index(ask.form) + 1]
            log.warning("%s refuses %s; asking for %s", self._name, ask.form, self._form)
        return True

    def _lose_labels(self, why: str) -> None:
        if self._labels:
            self._labels = False
            log.warning(
                "%s gives no log-probs (%s): grading by schema instead, so scores are whole tiers "
                "and not expectations. Set judge.grading to schema to make this the plan",
                self._name,
                why,
            )

    @property
    def _name(self) -> str:
        return f"{self.backend.name}:{self.backend.model}"


def _refusal(http: HttpReply, key: str | None) -> Faulty:
    said = _head(http)
    if key:
        said = said.replace(key, "***")
    if http.status in (401, 403):
        cause = FaultCause.AUTH
    elif http.status == 429:
        cause = FaultCause.RATE_LIMITED
    elif http.status >= 500:
        cause = FaultCause.SERVER_ERROR
    elif "content_filter" in said:
        cause = FaultCause.CONTENT_FILTER
    else:
        cause = FaultCause.BAD_REQUEST
    return Faulty(cause, f"HTTP {http.status}: {said[:200]}")


def _head(http: HttpReply) -> str:
    return http.body[:2000].decode("utf-8", "replace")
