"""HTTP POST, a thousand at once. The one file that knows the HTTP library.

aiohttp, driven directly. httpx's own pool stops at a few hundred requests in flight, and httpx's
request and response objects over aiohttp cost half as much again as the request itself.
"""

import asyncio
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from judges.verdict import FaultCause

CONNECT_TIMEOUT_S = 15.0
KEEPALIVE_S = 60.0
MAX_REPLY_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A whole reply. `shared` says that an equal request in flight paid for it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    shared: bool = False


class TransportError(Exception):
    """No reply. Says where and why; never holds a header, a body or a URL's query."""

    cause: ClassVar[FaultCause]


class ConnectFailed(TransportError):
    cause = FaultCause.CONNECT


class Reset(TransportError):
    cause = FaultCause.RESET


class TimedOut(TransportError):
    cause = FaultCause.TIMEOUT


class NotHttp(TransportError):
    cause = FaultCause.BAD_REPLY


class Transport:
    """Connections kept alive and shared by every request; as many as are in flight."""

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._targets: dict[str, _Target] = {}

    async def __aenter__(self) -> Self:
        _allow_many_sockets()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "gspo-judge"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> HttpReply:
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = _Target(url)
        try:
            async with self._session.post(
                target.url,
                data=body,
                headers=headers,
                timeout=_timeout(timeout_s),
                proxy=target.proxy,
                allow_redirects=False,  # a redirect would carry the key elsewhere
            ) as response:
                content = await self._read(response)
                return HttpReply(status=response.status, headers=response.headers, body=content)
        except (aiohttp.ClientError, OSError) as error:
            failure = _named(error, target.host, timeout_s)
        # Outside the handler: the library's error holds the headers, and the key with them.
        raise failure

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        while chunk := await response.content.readany():
            size += len(chunk)
            if size > self._max_reply_bytes:
                response.close()
                raise aiohttp.ClientError(f"a reply of more than {self._max_reply_bytes} bytes")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Target:
    def __init__(self, url: str) -> None:
        self.url = URL(url)
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise ValueError(
                f"judge.url is {url.split('?')[0]!r}: it must start with http:// or https:// "
                "and name a host"
            )
        self.host = f"{self.url.host}:{self.url.port}"
        # Read once: aiohttp's own trust_env asks the environment in a thread for every request.
        proxies = {} if proxy_bypass(self.host) else getproxies()
        self.proxy = proxies.get(self.url.scheme) or proxies.get("all")


@lru_cache(maxsize=64)
def _timeout(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=total_s,
        sock_connect=min(CONNECT_TIMEOUT_S, total_s),
        ceil_threshold=math.inf,  # not rounded up to whole seconds, past the deadline
    )


def _named(error: Exception, host: str, timeout_s: float) -> TransportError:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return ConnectFailed(f"{host} did not take the connection in time")
        case asyncio.TimeoutError():
            return TimedOut(f"{host} gave no whole reply in {timeout_s:.3g} s")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ServerFingerprintMismatch():
            return ConnectFailed(f"{host} showed a certificate that is not trusted")
        case aiohttp.ClientConnectorError():
            return ConnectFailed(f"{host}: {error.os_error.strerror or 'no such host'}")
        case aiohttp.ClientHttpProxyError():
            return ConnectFailed(f"{host}: the proxy answered {error.status}")
        case aiohttp.ClientPayloadError():
            return Reset(f"{host} ended its reply early")
        case aiohttp.ServerDisconnectedError():
            return Reset(f"{host} closed the connection without a reply")
        case OSError():
            return Reset(f"{host}: {error.strerror or 'connection lost'}")
        case aiohttp.ClientResponseError():
            return NotHttp(f"{host} sent what is not HTTP")
        case _:
            return NotHttp(f"{host}: {error}")


def _allow_many_sockets() -> None:
    """A soft limit of 1,024 open files is common, and a request in flight is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (hard == resource.RLIM_INFINITY or soft < hard):
        wanted = 2**16 if hard == resource.RLIM_INFINITY else min(hard, 2**16)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
