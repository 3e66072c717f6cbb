"""A judge on loopback that says what it is told to say, and remembers what it was asked."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web


@dataclass
class ScriptedJudge:
    """`answer(body)` gives (status, JSON) for each request. Runs in the test's own loop."""

    answer: Callable[[dict[str, Any]], tuple[int, Any]]
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
        await asyncio.sleep(0)
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
