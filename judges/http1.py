"""HTTP/1.1, the asking side of one connection: a request out, one whole reply in.

Strict: what could be read in two ways ends the connection. No pipelining, no upgrades, no cookies.
"""

import asyncio
import re
import ssl
import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from judges.verdict import FaultCause

MAX_HEAD_BYTES = 64 * 2**10
MAX_BODY_BYTES = 16 * 2**20

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """A whole reply; header names in lower case. `shared`: an equal request in flight paid."""

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


class Received:
    """Bytes so far. Its generators yield where they need more."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False

    def until(self, mark: bytes) -> Generator[None, None, bytes]:
        while (end := self.data.find(mark)) < 0:
            if len(self.data) > MAX_HEAD_BYTES:
                raise NotHttp("a head of more than 64 KiB")
            yield from self._more()
        found = bytes(self.data[:end])
        del self.data[: end + len(mark)]
        return found

    def take(self, size: int) -> Generator[None, None, bytes]:
        if size > MAX_BODY_BYTES:
            raise NotHttp("a reply of more than 16 MiB")
        while len(self.data) < size:
            yield from self._more()
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def all(self) -> Generator[None, None, bytes]:
        while not self.ended:
            if len(self.data) > MAX_BODY_BYTES:
                raise NotHttp("a reply of more than 16 MiB")
            yield
        return (yield from self.take(len(self.data)))

    def _more(self) -> Generator[None, None, None]:
        if self.ended:
            raise Reset("the reply ended early" if self.data else "closed without a reply")
        yield


def read_reply(
    received: Received, *, to_connect: bool = False
) -> Generator[None, None, tuple[HttpReply, bool]]:
    """The reply, and whether the connection may carry another request."""
    version, status, headers = yield from _head(received)
    while status < 200:  # early hints and the like come before the reply itself
        if status == 101:
            raise NotHttp("it switched protocols")
        version, status, headers = yield from _head(received)
    encoding = headers.get("transfer-encoding", "").lower()
    length = headers.get("content-length")
    delimited = True
    if status in _WITHOUT_BODY or (to_connect and status < 300):
        body = b""
    elif encoding == "chunked":
        body = yield from _chunks(received)
    elif encoding:
        raise NotHttp(f"transfer-encoding {encoding[:40]!r}")
    elif length is not None:
        if not (length.isascii() and length.isdigit()):
            raise NotHttp(f"content-length {length[:40]!r}")
        body = yield from received.take(int(length))
    else:
        body = yield from received.all()
        delimited = False
    said = headers.get("connection", "").lower()
    stays = "keep-alive" in said if version == 0 else "close" not in said
    reusable = stays and delimited and not received.data and not (encoding and length)
    body = _decoded(body, headers.get("content-encoding", "").lower())
    return HttpReply(status=status, headers=headers, body=body), reusable


def _head(received: Received) -> Generator[None, None, tuple[int, int, dict[str, str]]]:
    head = yield from received.until(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise NotHttp(f"it begins {first[:40]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise NotHttp("a header without a name")
        name, value = header[1].lower(), header[2]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(status[1]), int(status[2]), headers


def _chunks(received: Received) -> Generator[None, None, bytes]:
    chunks: list[bytes] = []
    total = 0
    while True:
        size = _CHUNK_SIZE.fullmatch((yield from received.until(b"\r\n")))
        if size is None:
            raise NotHttp("a chunk without a size")
        if not (count := int(size[1], 16)):
            break
        total += count
        if total > MAX_BODY_BYTES:
            raise NotHttp("a reply of more than 16 MiB")
        chunks.append((yield from received.take(count)))
        if (yield from received.take(2)) != b"\r\n":
            raise NotHttp("a chunk longer than its size")
    while (yield from received.until(b"\r\n")):
        pass  # trailers
    return b"".join(chunks)


def _decoded(body: bytes, encoding: str) -> bytes:
    """Compression is never asked for; some proxies do it all the same."""
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "deflate"):
        raise NotHttp(f"content-encoding {encoding[:40]!r}")
    unpacker = zlib.decompressobj(wbits=47)
    try:
        unpacked = unpacker.decompress(body, MAX_BODY_BYTES)
    except zlib.error:
        raise NotHttp("its compression is broken") from None
    if not unpacker.eof:
        raise NotHttp("its compression is broken")
    return unpacked


class Connection(asyncio.Protocol):
    """One request at a time. Whatever ends badly closes it."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = Received()
        self._reading = read_reply(self._received)
        self._reply: asyncio.Future[tuple[HttpReply, bool]] | None = None
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(self, tls: ssl.SSLContext, host: str) -> None:
        """Speak TLS from here on, to the host at the far end of a tunnel."""
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(self._transport, self, tls, server_hostname=host)
        if transport is None:
            raise ConnectionResetError("the tunnel closed")
        self._transport = transport

    async def exchange(
        self, message: bytes, timeout_s: float, *, to_connect: bool = False
    ) -> HttpReply:
        """Still open afterwards if it may carry another."""
        assert self._transport is not None
        assert self._reply is None
        loop = asyncio.get_running_loop()
        self._received = Received()
        self._reading = read_reply(self._received, to_connect=to_connect)
        self._reply = loop.create_future()
        too_late = loop.call_later(timeout_s, self._time_out, timeout_s)
        reusable = False
        try:
            self._transport.write(message)
            reply, reusable = await self._reply
        finally:
            too_late.cancel()
            self._reply = None
            if not reusable or self._transport.get_write_buffer_size():
                self.close()
        return reply

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received.data += data
        self._read_on()

    def eof_received(self) -> None:
        self._received.ended = True
        self._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._received.ended = True
        self._fail(Reset("the connection was reset" if exc else "closed without a reply"))

    def _read_on(self) -> None:
        if self._reply is None or self._reply.done():
            self.close()  # nobody asked
            return
        try:
            next(self._reading)
        except StopIteration as end:
            self._reply.set_result(end.value)
        except TransportError as error:
            self._fail(error)

    def _time_out(self, timeout_s: float) -> None:
        self._fail(TimedOut(f"no whole reply in {timeout_s:.3g} s"))

    def _fail(self, error: TransportError) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)
