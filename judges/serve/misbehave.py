"""What goes wrong with judges, on demand and seeded, so that a client can be shown all of it.

python -m judges serve --faults "429=0.1,hang=0.05,wrong_enum=0.05" --seed 1
"""

import asyncio
import json
import math
import random
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from typing import Any

from aiohttp import web

from judges.names import did_you_mean

Completion = dict[str, Any]
LATENCY_SPREAD = 0.25
_http_date = partial(formatdate, usegmt=True)


def _overloaded(headers: Mapping[str, str]) -> web.Response:
    error = {"message": "Rate limit reached", "type": "rate_limit_error"}
    return web.json_response({"error": error}, status=429, headers=headers)


WITHOUT_ANSWER: dict[str, Callable[[], web.Response]] = {
    "429": lambda: _overloaded({}),
    "429_s": lambda: _overloaded({"retry-after": "1"}),
    "429_ms": lambda: _overloaded({"retry-after-ms": "300"}),
    "429_date": lambda: _overloaded(
        {"date": _http_date(time.time()), "retry-after": _http_date(time.time() + 1)}
    ),
    "500": lambda: web.json_response({"error": {"message": "internal error"}}, status=500),
}


def _say(completion: Completion, text: str, **more: Any) -> None:
    choice = completion["choices"][0]
    choice["message"]["content"] = text
    choice |= more


def _truncate(completion: Completion) -> None:
    text: str = completion["choices"][0]["message"]["content"]
    _say(completion, text[: len(text) // 2], finish_reason="length", logprobs=None)


def _score_too(score: float) -> Callable[[Completion], None]:
    def spoil(completion: Completion) -> None:
        choice = completion["choices"][0]
        if choice["logprobs"]:
            choice["logprobs"]["content"][0]["top_logprobs"][0]["logprob"] = score
            return
        verdict = json.loads(choice["message"]["content"])
        _say(completion, json.dumps({**verdict, "score": score}))

    return spoil


def _wrong_enum(completion: Completion) -> None:
    if completion["choices"][0]["logprobs"]:
        top = [{"token": "Z", "logprob": 0.0}]
        _say(completion, "Z", logprobs={"content": [{**top[0], "top_logprobs": top}]})
    else:
        _say(completion, json.dumps({"rationale": "It is fine.", "tier": "excellent"}))


def _two_verdicts(completion: Completion) -> None:
    text: str = completion["choices"][0]["message"]["content"]
    verdict = json.dumps({"rationale": "Or so.", "tier": "same"})
    other = "A" if len(text) == 1 else {"yes": "no", "no": "yes"}.get(text, verdict)
    _say(completion, f"{text}\n{other}" if other != text else f"{text}\nB")


def _refuse(completion: Completion) -> None:
    _say(completion, "", logprobs=None)
    completion["choices"][0]["message"]["refusal"] = "I'm sorry, I can't help with that."


def _filter(completion: Completion) -> None:
    _say(completion, "", logprobs=None, finish_reason="content_filter")


def _empty(completion: Completion) -> None:
    _say(completion, "", logprobs={"content": []} if completion["choices"][0]["logprobs"] else None)


SPOILED_ANSWERS: dict[str, Callable[[Completion], None]] = {
    "truncated": _truncate,
    "wrong_enum": _wrong_enum,
    "nan": _score_too(math.nan),
    "1e9": _score_too(1e9),
    "two_verdicts": _two_verdicts,
    "refusal": _refuse,
    "content_filter": _filter,
    "empty": _empty,
}
KINDS = (*WITHOUT_ANSWER, "hang", "reset", "cut_body", *SPOILED_ANSWERS)


class Misbehaviour:
    """Draws, for each request in turn, what goes wrong with it; and how long it takes."""

    def __init__(self, faults: str, seed: int, latency_s: float) -> None:
        self._shares = parse_faults(faults)
        self._random = random.Random(seed)
        self._latency_s = latency_s

    def draw(self) -> str | None:
        at = self._random.random()
        for kind, share in self._shares.items():
            at -= share
            if at < 0:
                return kind
        return None

    async def respond(
        self, request: web.Request, answer: Callable[[], Completion]
    ) -> web.StreamResponse:
        kind = self.draw()
        if self._latency_s:
            spread = math.exp(self._random.gauss(0.0, LATENCY_SPREAD))
            await asyncio.sleep(self._latency_s * spread)
        if kind in WITHOUT_ANSWER:
            return WITHOUT_ANSWER[kind]()
        if kind == "hang":
            await asyncio.Event().wait()  # until the client goes away
        if kind == "reset" and request.transport:
            request.transport.abort()
        completion = answer()
        if kind in SPOILED_ANSWERS:
            SPOILED_ANSWERS[kind](completion)
        text = json.dumps(completion)
        if kind == "cut_body":
            text = text[: len(text) // 2]
        return web.Response(text=text, content_type="application/json")


def parse_faults(faults: str) -> dict[str, float]:
    """`kind=share,...`; `all=0.2` spreads a share evenly over every kind."""
    shares: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in faults.split(","))):
        kind, _, number = entry.partition("=")
        if kind != "all" and kind not in KINDS:
            hint = did_you_mean(kind, KINDS)
            raise ValueError(f"--faults has {kind!r}.{hint} Known: all, {', '.join(KINDS)}")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not 0 <= share <= 1:
            raise ValueError(f"--faults {entry!r}: write it as {kind}=SHARE, a share from 0 to 1")
        for name in KINDS if kind == "all" else (kind,):
            shares[name] = shares.get(name, 0.0) + (share / len(KINDS) if kind == "all" else share)
    if sum(shares.values()) > 1 + 1e-9:
        raise ValueError(
            f"--faults {faults!r}: the shares add up to {sum(shares.values()):g}, over 1"
        )
    return shares
