"""HTTP POST, a thousand at once: httpx, over aiohttp's connections.

httpx's own pool stops moving with some hundred requests in flight (twenty to a hundred times
aiohttp's CPU), so its client is given a transport of aiohttp's. What becomes of a request is told
apart with care: nobody was there, which costs nothing, or the reply was lost, which may be billed.
"""

import asyncio
import ipaddress
import logging
import os
import ssl
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar
from typing import Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from judges.client.backends import nameable
from judges.verdict import FaultCause, Faulty

CONNECT_TIMEOUT_S = 15.0
KEEPALIVE_S = 60.0
ADDRESS_S = 60
MAX_BODY_BYTES = 16 * 2**20

logging.getLogger("httpx").addFilter(lambda record: record.levelno > logging.INFO)
"""At INFO it writes the whole URL of every request, and a key may be in it."""

_SAID_BY_ALL = {"user-agent": "gspo-judge", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A whole reply; header names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoCookies(CookieJar):
    """Looking for cookies in a reply costs a twelfth of a request."""

    def extract_cookies(self, response: object, request: object) -> None:
        pass


class Transport:
    """As many connections as there are requests in flight; idle ones are used again."""

    def __init__(self) -> None:
        self._address = cache(_address)

    async def __aenter__(self) -> Self:
        _allow_many_sockets()
        self._client = httpx.AsyncClient(transport=AiohttpTransport(), cookies=NoCookies())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> HttpReply:
        """Raises Faulty, which says where and why, and holds no header, body or URL's query.

        CONNECT: nothing was sent. RESET, TIMEOUT and BAD_REPLY: it may be billed.
        """
        to = self._address(url)
        for name, value in headers.items():
            if not (value.isascii() and value.isprintable()):
                raise ValueError(
                    f"the header {name} holds a line break or a character beyond ASCII: is there "
                    "one in the key?"
                )
        # By hand, because what the client adds to build one costs as much again as sending it.
        request = httpx.Request("POST", to, headers={**_SAID_BY_ALL, **headers}, content=body)
        give_up_at = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(give_up_at):
                reply = await self._client.send(request)
                reply.stream = httpx.ByteStream(b"")  # the client's holds the reply that holds it
        except TimeoutError:
            cause, why = FaultCause.TIMEOUT, f"no whole reply in {timeout_s:.3g} s"
        except httpx.RequestError as error:
            cause, why = _cause(error), str(error)
        else:
            return HttpReply(status=reply.status_code, headers=reply.headers, body=reply.content)
        raise Faulty(cause, f"{to.netloc.decode()}: {why}")


def _address(url: str) -> httpx.URL:
    """Without a user: a key goes into a header."""
    try:
        to = httpx.URL(url).copy_with(userinfo=b"", fragment=None)
    except httpx.InvalidURL:
        to = httpx.URL()
    if to.scheme not in ("http", "https") or not to.host:
        raise ValueError(
            f"judge.url is {nameable(url)!r}: it must begin with http:// or https:// "
            "and name a host"
        )
    return to


def _cause(error: httpx.RequestError) -> FaultCause:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return FaultCause.CONNECT
    return FaultCause.RESET if isinstance(error, httpx.NetworkError) else FaultCause.BAD_REPLY


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Whole requests and replies over aiohttp, its errors as httpx's, the environment's proxies.

    Made in a running loop. Of timeouts it knows the one for connecting; the rest is the caller's.
    """

    def __init__(self) -> None:
        self._trusted = cache(_trusted)
        self._proxy_for = cache(_proxy_for)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=ADDRESS_S
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S),
            auto_decompress=False,  # aiohttp takes half a gzip for a whole one
        )

    async def aclose(self) -> None:
        await self._session.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            async with self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=request.content,
                allow_redirects=False,
                proxy=self._proxy_for(request.url.scheme, request.url.host, request.url.port),
                ssl=self._trusted() if request.url.scheme == "https" else True,
            ) as reply:
                body = await _whole(reply)
        except aiohttp.ClientError as error:
            raise _as_httpx(error) from error
        body = _decoded(body, reply.headers.get("content-encoding", "").lower())
        headers = [line for line in reply.raw_headers if line[0].lower() != b"content-encoding"]
        return httpx.Response(reply.status, headers=headers, content=body)


def _trusted() -> ssl.SSLContext:
    """The system's authorities and httpx's own; those of SSL_CERT_FILE where it is set."""
    try:
        tls = httpx.create_ssl_context()
    except OSError as error:
        raise ValueError(
            f"SSL_CERT_FILE is {os.environ.get('SSL_CERT_FILE')!r} and cannot be read as "
            f"certificates ({error}): name a file in PEM, or unset it"
        ) from error
    tls.load_default_certs()
    return tls


async def _whole(reply: aiohttp.ClientResponse) -> bytes:
    if reply.status == 101:
        raise httpx.RemoteProtocolError("it switched protocols")
    if (coding := reply.headers.get("transfer-encoding", "chunked").lower()) != "chunked":
        raise httpx.RemoteProtocolError(f"transfer-encoding {coding[:40]!r}")
    body = bytearray()
    if (reply.content_length or 0) <= MAX_BODY_BYTES:
        async for piece in reply.content.iter_any():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                break
        else:
            return bytes(body)
    raise httpx.RemoteProtocolError("a reply of more than 16 MiB")


def _decoded(body: bytes, encoding: str) -> bytes:
    """Compression is never asked for; some proxies do it all the same."""
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "deflate"):
        raise httpx.DecodingError(f"content-encoding {encoding[:40]!r}")
    unpacker = zlib.decompressobj(wbits=47)
    try:
        unpacked = unpacker.decompress(body, MAX_BODY_BYTES)
    except zlib.error as error:
        raise httpx.DecodingError("its compression is broken") from error
    if not unpacker.eof:
        raise httpx.DecodingError("its compression is broken, or hides more than 16 MiB")
    return unpacked


def _as_httpx(error: aiohttp.ClientError) -> httpx.TransportError:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(f"took no connection in {CONNECT_TIMEOUT_S:.3g} s")
        case aiohttp.ClientConnectorError():
            proxy = "its proxy: " if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            return httpx.ConnectError(proxy + _words(error.os_error))
        case aiohttp.ClientHttpProxyError():
            return httpx.ProxyError(f"the proxy answered HTTP {error.status}")
        case aiohttp.ClientResponseError():
            return httpx.RemoteProtocolError("its reply is not HTTP")
        case aiohttp.ClientPayloadError():
            return httpx.ReadError("the reply ended early")
        case aiohttp.ServerDisconnectedError():
            return httpx.ReadError("closed without a reply")
        case _:
            return httpx.ReadError("the connection was reset")


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); if it is signed by an "
            "authority of your own, name its file in SSL_CERT_FILE"
        )
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio's own words repeat the address
    return error.strerror or str(error)


def _proxy_for(scheme: str, host: str, port: int | None) -> URL | None:
    """As httpx has it from the environment; this machine itself is never asked of a proxy."""
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    try:
        exempt = ipaddress.ip_address(host).is_loopback
    except ValueError:
        exempt = host == "localhost"
    if not url or exempt or proxy_bypass(f"{host}:{port}" if port else host):
        return None
    try:
        proxy = URL(url if "://" in url else f"http://{url}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        raise httpx.ProxyError(
            "the environment names a proxy for it that is not http://; set HTTPS_PROXY to one "
            "that is, or NO_PROXY to reach it directly"
        )
    return proxy


def _allow_many_sockets() -> None:
    """A soft limit of 1,024 open files is common, and a request in flight is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2**16 if hard == resource.RLIM_INFINITY else min(hard, 2**16)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
