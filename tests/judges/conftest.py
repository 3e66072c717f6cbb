"""A judge on loopback that says what it is told to say, and remembers what it was asked."""

import asyncio
import itertools
import json
import selectors
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from judges.client.backends import Backend
from judges.client.books import Books
from judges.client.budget import Budget
from judges.client.chat import Chat
from judges.client.http import Transport
from judges.client.ledger import Setup
from judges.client.limits import AdaptiveLimit, Breaker
from judges.client.wire import Ask
from judges.rubric.prompt import Prompt
from judges.verdict import Faulty, JudgeRequest

SETUP = Setup(model="m", url="http://h/v1", rubric="r", template="t", sampling="s")
REQUEST = JudgeRequest(question="Q?", truth="T", answer="A")
NUMBERS = itertools.count()


async def asked(chat: Chat, deadline: float, key: str | None = None):
    """What an ask of its own, or one with that key, came to: an answer, or the fault raised."""
    key = key or f"ask {next(NUMBERS)}"
    prompt = Prompt(system="s", user=key)
    ask = Ask(key=key, request=REQUEST, prompt=lambda _: prompt, schema={}, max_tokens=100)
    try:
        return await chat.ask(ask, lambda reply: reply.text, deadline)
    except Faulty as fault:
        return fault


def chat_over(
    http,
    url: str = "http://judge/",
    budget: Budget | None = None,
    *,
    ledger: Any = None,
    start_in_flight: int = 16,
    rest_s: float = 15.0,
    failures_to_open: int = 20,
    breaker_rest_s: float = 2.0,
    retries: int = 5,
    hedge_share: float = 0.0,
    **row,
) -> Chat:
    row = {"url": url, "max_in_flight": 256, "usd_per_m_in": 1.0} | row
    backend = Backend(name="custom", model="m", **row)
    ceiling = backend.max_in_flight
    return Chat(
        backend,
        Books(setup=SETUP, budget=budget or Budget(), ledger=ledger),
        http,
        retries=retries,
        backoff_s=0.01,
        hedge_share=hedge_share,
        limit=AdaptiveLimit(start=start_in_flight, ceiling=ceiling, rest_s=rest_s),
        breaker=Breaker(failures_to_open=failures_to_open, rest_s=breaker_rest_s),
    )


@dataclass
class ScriptedJudge:
    """`answer(body)` gives (status, JSON) for each request. Runs in the test's own loop."""

    answer: Callable[[dict[str, Any]], tuple[int, Any]]
    latency_s: Callable[[], float] = lambda: 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self):
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        await asyncio.sleep(self.latency_s())
        status, reply = self.answer(body)
        return web.Response(
            text=reply if isinstance(reply, str) else json.dumps(reply),
            status=status,
            content_type="application/json",
        )


def completion(text, **choice):
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    entry = {"index": 0, "message": message, "finish_reason": "stop", **choice}
    return {"choices": [entry], "usage": usage}


@pytest.fixture
def scripted_judge():
    return ScriptedJudge


@pytest.fixture
def chat_completion():
    return completion


@dataclass
class TroubledServer:
    """Answers by a script: (status, headers), or a word for worse. Then `always`."""

    script: list[tuple[int, dict[str, str]] | str] = field(default_factory=list)
    always: tuple[int, dict[str, str]] | str = (200, {})
    latency_s: float = 0.0
    bodies: list[str] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    @asynccontextmanager
    async def chat(self, *args, **kwargs):
        app = web.Application()
        app.router.add_post("/chat/completions", self.handle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            async with Transport() as http:
                yield chat_over(http, self.url, *args, **kwargs)
        finally:
            await runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.times_s.append(asyncio.get_running_loop().time())
        body = await request.json()
        self.bodies.append(body["messages"][-1]["content"])
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
            return await self.act(request, self.script.pop(0) if self.script else self.always)
        finally:
            self.in_flight -= 1

    async def act(self, request: web.Request, what) -> web.StreamResponse:
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
        unbilled = {key: value for key, value in completion("said").items() if key != "usage"}
        text = json.dumps(unbilled) if status == 200 else f"body {status}"
        return web.Response(status=status, headers=headers, text=text)


@pytest.fixture
def ask_of():
    return asked


@pytest.fixture
def make_chat():
    return chat_over


@pytest.fixture
def troubled():
    return TroubledServer


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next thing to do. Work for a thread is done on the spot."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self._now_s

    def pass_time(self, seconds: float) -> None:
        self._now_s += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class _Jump(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everyone waits and nothing is to come"
        self._loop.pass_time(max(timeout, 0.0))
        return super().select(0)


@pytest.fixture(scope="session")
def in_virtual_time() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine to its end; hours of outages pass in milliseconds."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(main)

    return run
