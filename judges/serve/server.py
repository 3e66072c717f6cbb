"""The embedded judge: an OpenAI-compatible server on loopback that grades by rule.

It reads the prompt a real judge would get and replies in the format asked of it, so that training
and tests use the same client, over HTTP, as they would with any other judge.

    python -m judges serve --port 8100 --known answers.jsonl
"""

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web

from judges.axes.question import read_rated
from judges.commands.flags import read_flags, told
from judges.fit.plain import read_plain
from judges.pairwise.question import WORTH, read_pair
from judges.rubric.ladder import NO, YES, read_ladder
from judges.rubric.lineup import read_lineup, stated
from judges.rubric.prompt import Asked, read_user_message
from judges.rubric.rubric import Rubric, load_rubric
from judges.serve.child import die_with_parent
from judges.serve.misbehave import Misbehaviour
from judges.serve.rules import Finding, Known, grade, load_known

MODEL = "rules"
RATING_OF_RULE = {"same": 5, "reasonable": 4, "off_domain": 2, "contradicts": 1, "incoherent": 1}
BACKLOG = 2048


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """The embedded rule judge, OpenAI-compatible, on loopback."""

    port: int = 0
    """0 takes any free port; the `ready` line says which."""
    rubric: str = "medical_en"
    """A name in judges/rubric/rubrics, or a path to a .toml file."""
    known: str | None = None
    """JSONL of known answers ({"answer", "aliases", "kind"}): a wrong one is a contradiction."""
    faults: str = ""
    """What goes wrong, as kind=share pairs: 429=0.1,hang=0.05 or all=0.2 (misbehave.py)."""
    seed: int = 0
    """Of the faults and latencies."""
    latency_s: float = 0.0
    """Median time to an answer."""
    with_parent: bool = False
    """End when the parent process does."""


class BadRequest(Exception):
    """The caller's fault, told as a 400 in OpenAI's form."""


@dataclass(frozen=True, kw_only=True)
class RuleJudge:
    """From a chat request's JSON to a chat completion's."""

    rubric: Rubric
    known: Known
    started: int = field(default_factory=lambda: int(time.time()))

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        text, logprobs = self._reply(request)
        prompt_tokens = sum(len(str(m.get("content", ""))) for m in request["messages"]) // 4
        return {
            "id": "chatcmpl-rules",
            "object": "chat.completion",
            "created": self.started,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": logprobs,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": len(text) // 4 + 1,
                "total_tokens": prompt_tokens + len(text) // 4 + 1,
            },
        }

    def _reply(self, request: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """What is said, and its log-probs if they were asked for."""
        user = _user_message(request)
        if lined_up := read_lineup(user):
            text, entries = lined_up
            letter = stated(text, entries)
            if request.get("logprobs"):
                return letter, _certain(letter, entries)
            return json.dumps({"entry": letter}), None
        if pair := read_pair(user):
            letter = self._better(pair)
            if request.get("logprobs"):
                return letter, _certain(letter, WORTH)
            return json.dumps({"rationale": "by rule", "better": letter}), None
        if rated := read_rated(user):
            finding = self._finding(rated)
            ratings = dict.fromkeys(_axes(request), RATING_OF_RULE[finding.rule])
            return json.dumps({"rationale": finding.why, **ratings}, ensure_ascii=False), None
        rung = read_ladder(user, self.rubric)
        if plain := read_plain(user):
            rung = plain, self.rubric.tier(self.rubric.label_for_rule("same"))
        if rung:
            asked, tier = rung
            said = YES if tier.label == self._label(self._finding(asked)) else NO
            if request.get("logprobs"):
                return said, _certain(said, (YES, NO))
            return json.dumps({"answer": said}), None
        try:
            asked = read_user_message(user)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        if asked.answer is None:
            claims = [asked.truth, *asked.aliases]
            return json.dumps({"claims": claims}, ensure_ascii=False), None
        finding = self._finding(asked)
        label = self._label(finding)
        if request.get("logprobs"):
            return label, _certain(label, self.rubric.labels)
        self._check_schema(request)
        return json.dumps({"rationale": finding.why, "tier": label}, ensure_ascii=False), None

    def _finding(self, asked: Asked) -> Finding:
        answer = asked.answer or ""
        return grade(asked.question, asked.truth, asked.aliases, answer, self.known)

    def _better(self, pair: dict[str, str]) -> str:
        first, second = (
            self.rubric.tier(self._label(self._finding(asked))).score
            for asked in (
                Asked(
                    question=pair["question"], truth=pair["truth"], aliases=(), answer=pair[which]
                )
                for which in ("first", "second")
            )
        )
        return "C" if first == second else "A" if first > second else "B"

    def _label(self, finding: Finding) -> str:
        return self.rubric.label_for_rule(finding.rule)

    def _check_schema(self, request: dict[str, Any]) -> None:
        """A schema that speaks of other tiers was meant for another rubric."""
        wanted = cast(dict[str, Any], request.get("response_format") or {})
        if wanted.get("type") != "json_schema":
            return
        try:
            tiers: list[str] = wanted["json_schema"]["schema"]["properties"]["tier"]["enum"]
        except (KeyError, TypeError) as error:
            raise BadRequest(f"response_format has no enum of tiers ({error!r})") from error
        if tuple(tiers) != self.rubric.labels:
            raise BadRequest(
                f"the schema's tiers are {tiers}; this judge serves the rubric "
                f"{self.rubric.name} with {list(self.rubric.labels)}: start it with --rubric"
            )


def _axes(request: dict[str, Any]) -> list[str]:
    try:
        properties = request["response_format"]["json_schema"]["schema"]["properties"]
    except (KeyError, TypeError) as error:
        raise BadRequest(
            f"response_format has no schema that names the axes ({error!r})"
        ) from error
    return [name for name in properties if name != "rationale"]


def _user_message(request: dict[str, Any]) -> str:
    try:
        return next(m["content"] for m in reversed(request["messages"]) if m["role"] == "user")
    except (KeyError, TypeError, StopIteration) as error:
        raise BadRequest("`messages` needs one with role user and text content") from error


def _certain(text: str, options: Iterable[str]) -> dict[str, Any]:
    """Log-probs of a judge that has no doubt, each option being a token to it."""
    top = [
        {"token": each, "logprob": 0.0 if each == text else -100.0, "bytes": [*each.encode()]}
        for each in options
    ]
    top.sort(key=lambda entry: -cast(float, entry["logprob"]))
    return {"content": [{**top[0], "top_logprobs": top}]}


def make_app(judge: RuleJudge, misbehaviour: Misbehaviour) -> web.Application:
    async def chat(request: web.Request) -> web.StreamResponse:
        try:
            asked = await _json_body(request)
            return await misbehaviour.respond(request, lambda: judge.complete(asked))
        except BadRequest as error:
            body = {"error": {"message": str(error), "type": "invalid_request_error"}}
            return web.json_response(body, status=400)

    async def models(_: web.Request) -> web.Response:
        card = {"id": MODEL, "object": "model", "owned_by": "judges", "created": judge.started}
        return web.json_response({"object": "list", "data": [card]})

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "rubric": judge.rubric.name})

    app = web.Application(client_max_size=8 * 2**20)
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/health", health)
    app.router.add_get("/v1/health", health)
    return app


async def _json_body(request: web.Request) -> dict[str, Any]:
    try:
        body: Any = await request.json()
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return cast(dict[str, Any], body)


def serve(config: ServeConfig) -> None:
    if not 0 <= config.port <= 65535:
        raise ValueError(
            f"port is {config.port}: it must be from 0 to 65535. Type --port 0 for any free one"
        )
    rubric = load_rubric(config.rubric)
    rubric.check_rules()
    known = load_known(config.known) if config.known else Known()
    misbehaviour = Misbehaviour(config.faults, config.seed, config.latency_s)
    try:
        listening = socket.create_server(("127.0.0.1", config.port), backlog=BACKLOG)
    except OSError as error:
        raise ValueError(
            f"port {config.port} is not free ({error.strerror}): give --port 0 for any free one"
        ) from error

    async def say_ready(_: web.Application) -> None:
        print(f"ready http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)

    app = make_app(RuleJudge(rubric=rubric, known=known), misbehaviour)
    app.on_startup.append(say_ready)
    web.run_app(
        app,
        sock=listening,
        backlog=BACKLOG,
        shutdown_timeout=1,
        handle_signals=not config.with_parent,
        handler_cancellation=True,
        access_log=None,
        print=None,
    )


def main(args: list[str]) -> int:
    config = read_flags(ServeConfig, "serve", args)
    if config.with_parent:
        die_with_parent()

    def work() -> int:
        serve(config)
        return 0

    return told(work, kept=lambda: "it served nobody")
