"""The two wire formats: what is sent to a judge, and what comes back, whoever it is."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from judges.client.backends import Backend, Form
from judges.client.features import Features
from judges.config import Grading
from judges.rubric.prompt import Prompt
from judges.rubric.reasoning import without_reasoning
from judges.verdict import FaultCause, Faulty, JudgeRequest, Usage

LABEL_TOKENS = 4
"""Room for a word's beginning and the white space some models put before it."""
BYTES_A_TOKEN = 3
"""At least, in our own words. In a candidate's, every byte may be a token."""
TOP_LOGPROBS = 20
VERDICT_TOOL = "give_verdict"

NOT_OF_THE_FORMAT = (
    *(LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError),
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked about a request, however often and in whatever terms it takes."""

    key: str
    """Its place in the ledger. Asks with the same are the same."""
    request: JudgeRequest
    prompt: Callable[[Grading], Prompt]
    schema: Json
    max_tokens: int
    logprobs: bool = True
    """Whether it may be answered by log-probs, where the backend gives them."""
    temperature: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One reply, out of anyone's format. `logprobs` is [(token, {token: log-prob})], if any."""

    text: str
    truncated: bool
    usage: Usage
    logprobs: list[tuple[str, dict[str, float]]] | None = None
    fingerprint: str = ""
    """What the server says of what it runs, if it does."""


class OpenAIWire:
    path = "/chat/completions"
    forms: tuple[Form, ...] = ("json_schema", "json_object")
    """What a reply can be held to, best first."""

    def headers(self, backend: Backend) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        if key := backend.key():
            headers["authorization"] = f"Bearer {key}"
        return headers

    def body(self, backend: Backend, ask: Ask, features: Features) -> Json:
        prompt = ask.prompt(features.grading)
        body: Json = {
            "model": backend.model,
            "messages": [*_system(prompt), *prompt.turns()],
            backend.max_tokens_field: _room(ask, features),
        }
        if features.temperature:
            body["temperature"] = ask.temperature
        if ask.seed is not None:
            body["seed"] = ask.seed
        if features.logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        elif features.form == "json_schema":
            schema = {"name": "verdict", "strict": True, "schema": ask.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif features.form == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body

    def read(self, backend: Backend, data: Json) -> Reply:
        choice = data["choices"][0]
        message = choice["message"]
        usage = cast(Json, data.get("usage") or {})
        details = cast(Json, usage.get("prompt_tokens_details") or {})
        spent = backend.bill(
            _count(usage.get("prompt_tokens")),
            _count(usage.get("completion_tokens")),
            _count(details.get("cached_tokens")),
        )
        finish = choice.get("finish_reason")
        if finish == "content_filter":
            raise Faulty(FaultCause.CONTENT_FILTER, "the backend withheld the reply", spent)
        if refusal := message.get("refusal"):
            raise Faulty(FaultCause.REFUSED, str(refusal)[:200], spent)
        text = message.get("content")
        if isinstance(text, list):  # content as parts
            parts = cast(list[Json], text)
            text = "".join(str(part.get("text", "")) for part in parts)
        if not isinstance(text, str | None):
            raise TypeError("content is no text")
        return Reply(
            text=text or "",
            truncated=finish == "length",
            usage=spent,
            logprobs=_logprobs(choice.get("logprobs")),
            fingerprint=str(data.get("system_fingerprint") or ""),
        )


class AnthropicWire:
    """Its own format: the system prompt apart, the schema as a tool that it must call."""

    path = "/messages"
    forms: tuple[Form, ...] = ("json_schema",)

    def headers(self, backend: Backend) -> dict[str, str]:
        return {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-api-key": backend.key() or "",
        }

    def body(self, backend: Backend, ask: Ask, features: Features) -> Json:
        prompt = ask.prompt(features.grading)
        system: Json = {"type": "text", "text": prompt.system}
        shortest = backend.cache_from_tokens  # below that the mark would do nothing
        if shortest is not None and len(prompt.system.encode()) >= shortest * BYTES_A_TOKEN:
            system["cache_control"] = {"type": "ephemeral"}
        body: Json = {
            "model": backend.model,
            **({"system": [system]} if prompt.system else {}),
            "messages": prompt.turns(),
            "max_tokens": ask.max_tokens,
        }
        if features.temperature:
            body["temperature"] = min(ask.temperature, 1.0)
        about = "Hand in the one verdict on the answer."
        body["tools"] = [{"name": VERDICT_TOOL, "description": about, "input_schema": ask.schema}]
        body["tool_choice"] = {"type": "tool", "name": VERDICT_TOOL}
        return body

    def read(self, backend: Backend, data: Json) -> Reply:
        usage = cast(Json, data.get("usage") or {})
        cached = _count(usage.get("cache_read_input_tokens"))
        written = _count(usage.get("cache_creation_input_tokens"))
        taken = _count(usage.get("input_tokens")) + cached + written
        spent = backend.bill(taken, _count(usage.get("output_tokens")), cached, written)
        stop = data.get("stop_reason")
        if stop == "refusal":
            raise Faulty(FaultCause.REFUSED, "stop_reason is refusal", spent)
        texts: list[str] = []
        for block in cast(list[Json], data["content"]):
            if block.get("type") == "text":
                texts.append(str(block.get("text", "")))
            elif block.get("type") == "tool_use":
                texts.append(json.dumps(block.get("input"), ensure_ascii=False))
        return Reply(text="\n".join(texts), truncated=stop == "max_tokens", usage=spent)


WIRES: dict[str, OpenAIWire | AnthropicWire] = {
    "openai": OpenAIWire(),
    "anthropic": AnthropicWire(),
}


def in_its_format(backend: Backend, ask: Ask, features: Features) -> tuple[bytes, Usage]:
    """The body of an ask, and the most that it can cost: a token for every byte of theirs."""
    body = json.dumps(WIRES[backend.wire].body(backend, ask, features)).encode()
    request = ask.request
    theirs = sum(
        len(text) if text.isascii() else len(text.encode(errors="replace"))
        for text in (request.question, request.answer, *request.accepted)
    )
    taken = len(body) // BYTES_A_TOKEN + theirs
    written = taken if backend.cache_from_tokens else 0
    return body, backend.bill(taken, _room(ask, features), written=written)


def _system(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": "system", "content": prompt.system}] if prompt.system else []


def _room(ask: Ask, features: Features) -> int:
    return LABEL_TOKENS if features.logprobs else ask.max_tokens


def read_reply(backend: Backend, body: bytes) -> Reply:
    """Raises Faulty for a refusal, a filtered reply, and whatever is not of the wire format."""
    try:
        reply = WIRES[backend.wire].read(backend, json.loads(body))
    except NOT_OF_THE_FORMAT as error:
        head = repr(body[:160].decode("utf-8", "replace"))
        raise Faulty(FaultCause.BAD_REPLY, f"not a chat reply: {head}") from error
    try:
        text = without_reasoning(reply.text, backend.reasoning)
    except Faulty as fault:
        fault.usage = reply.usage
        raise
    return reply if text == reply.text else replace(reply, text=text)


def _count(said: object) -> int:
    """0 where it says nothing that could be a number of tokens: the bill is then not known."""
    return int(said) if isinstance(said, int | float) and 0 <= said <= 1e9 else 0


def _logprobs(given: Any) -> list[tuple[str, dict[str, float]]] | None:
    try:
        return [
            (
                str(position["token"]),
                {str(top["token"]): float(top["logprob"]) for top in position["top_logprobs"]},
            )
            for position in given["content"]
        ] or None
    except (KeyError, TypeError, ValueError):
        return None
