"""HTTP POST, a thousand at once, over connections that are kept.

A judge is one POST and one short reply, so this speaks that much HTTP itself, in judges/http1.py.
Measured with 256 in flight, a request through aiohttp costs two to three times the CPU, one through
httpx over aiohttp half as much again, and httpx's own pool stops moving. Limits, retries and a
ledger then fit into what aiohttp alone would take.
"""

import asyncio
import ssl
import sys
from collections.abc import Mapping
from typing import Self
from urllib.parse import quote, urlsplit

from judges.http1 import (
    ConnectFailed,
    HttpReply,
    NotHttp,
    Reset,
    TimedOut,
    TransportError,
)
from judges.origin import Origin, proxy_for

__all__ = [
    "ConnectFailed",
    "HttpReply",
    "NotHttp",
    "Reset",
    "TimedOut",
    "Transport",
    "TransportError",
]

_PATH_SAFE = "/%:@!$&'()*+,;=~?"


class Transport:
    """As many connections as there are requests in flight; idle ones are used again."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._origins: dict[tuple[str, str, int], Origin] = {}
        self._targets: dict[str, _Target] = {}

    async def __aenter__(self) -> Self:
        _allow_many_sockets()
        return self

    async def __aexit__(self, *_: object) -> None:
        for origin in self._origins.values():
            origin.close()
        await asyncio.sleep(0)  # sockets close on the loop's next turn

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> HttpReply:
        target = self._targets.get(url) or self._learn(url)
        message = target.message(headers, body)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + timeout_s
        origin = target.origin
        try:
            connection = origin.idle() or await origin.connect(timeout_s)
            reply = await connection.exchange(message, give_up_at - loop.time())
        except TransportError as error:
            failure = type(error)(f"{origin.name}: {error}")
        else:
            origin.keep(connection)
            return reply
        raise failure

    def _learn(self, url: str) -> "_Target":
        """Once a URL: a request then costs no parsing of it, and no look at the environment."""
        parts = urlsplit(url)
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host:
            shown = url.split("?")[0].rpartition("@")[2]
            raise ValueError(
                f"judge.url is {shown!r}: it must begin with http:// or https:// and name a host"
            )
        place = (parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80))
        if place not in self._origins:
            if parts.scheme == "https" and self._tls is None:
                self._tls = ssl.create_default_context()
            tls = self._tls if parts.scheme == "https" else None
            self._origins[place] = Origin(place[1], place[2], tls, proxy_for(parts.scheme, host))
        path = quote(parts.path or "/", safe=_PATH_SAFE)
        if parts.query:
            path += "?" + quote(parts.query, safe=_PATH_SAFE)
        self._targets[url] = target = _Target(self._origins[place], path)
        return target


class _Target:
    """A URL, and everything of a request to it that is always the same."""

    def __init__(self, origin: Origin, path: str) -> None:
        self.origin = origin
        proxy = origin.proxy
        if proxy is None or origin.tls is not None:
            lines = [f"POST {path} HTTP/1.1"]
        else:
            lines = [f"POST http://{origin.name}{path} HTTP/1.1", *proxy.authorization]
        lines += [f"host: {origin.name}", "user-agent: gspo-judge", "accept-encoding: identity"]
        self._head = "\r\n".join(lines)

    def message(self, headers: Mapping[str, str], body: bytes) -> bytes:
        head = self._head
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ValueError(
                    f"the header {name} holds a line break or a character beyond ASCII: is there "
                    "one in the key?"
                )
            head += f"\r\n{name}: {value}"
        return f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _allow_many_sockets() -> None:
    """A soft limit of 1,024 open files is common, and a request in flight is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = 2**16 if hard == unlimited else min(hard, 2**16)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
