"""The transport against servers that misbehave at the socket, and ones that are not ours."""

import asyncio
import gzip
import logging
import socket
import struct
import traceback
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from judges.client.http import Transport
from judges.verdict import FaultCause, Faulty

SECRET = "sk-very-secret"
HEADERS = {"authorization": f"Bearer {SECRET}", "content-type": "application/json"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(
        int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"
    )
    return head, await reader.readexactly(size)


@asynccontextmanager
async def server(answer, **listen):
    """`answer(reader, writer)` is given each connection."""

    async def handle(reader, writer):
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, **listen)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


def says(raw: bytes):
    async def answer(reader, writer):
        while True:
            await read_request(reader)
            writer.write(raw)

    return answer


async def post(transport: Transport, url: str, body: bytes = b"{}", timeout_s: float = 20.0):
    return await transport.post(url, headers=HEADERS, body=body, timeout_s=timeout_s)


async def failure_of(answer, timeout_s: float = 20.0) -> Faulty:
    async with server(answer) as url, Transport() as transport:
        with pytest.raises(Faulty) as caught:
            await post(transport, url + "/v1?key=" + SECRET, timeout_s=timeout_s)
        return caught.value


def test_a_request_arrives_whole_and_its_reply_comes_back():
    seen = []

    async def answer(reader, writer):
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 418 Teapot\r\nX-Kind: Earl Grey\r\nContent-Length: 3\r\n\r\ntea")

    async def run():
        async with server(answer) as url, Transport() as transport:
            return await post(transport, url + "/v1/chat completions?a=b c", "é".encode())

    reply = asyncio.run(run())
    assert (reply.status, reply.body, reply.headers["x-kind"]) == (418, b"tea", "Earl Grey")
    (head, body), *_ = seen
    assert head.startswith(b"POST /v1/chat%20completions?a=b%20c HTTP/1.1\r\nhost: 127.0.0.1:")
    assert f"authorization: Bearer {SECRET}\r\n".encode() in head
    assert body == "é".encode()


def test_one_connection_carries_request_after_request():
    connections = []

    async def answer(reader, writer):
        connections.append(writer)
        await says(OK)(reader, writer)

    async def run():
        async with server(answer) as url, Transport() as transport:
            for _ in range(5):
                await post(transport, url)

    asyncio.run(run())
    assert len(connections) == 1


def test_a_connection_the_server_closed_while_idle_is_not_used_again():
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(OK)  # and hangs up, having promised nothing of the kind

    async def run():
        async with server(answer) as url, Transport() as transport:
            for _ in range(3):
                assert (await post(transport, url)).body == b"ok"
                await asyncio.sleep(0.05)

    asyncio.run(run())


def test_a_thousand_at_once_all_come_back():
    async def answer(reader, writer):
        while True:
            _, body = await read_request(reader)
            await asyncio.sleep(0.01)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def run():
        async with server(answer, backlog=2048) as url, Transport() as transport:
            bodies = [str(n).encode() for n in range(1000)]
            replies = await asyncio.gather(*(post(transport, url, body) for body in bodies))
            assert [reply.body for reply in replies] == bodies

    asyncio.run(run())


def test_nobody_listening_is_a_failed_connection():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    async def run():
        async with Transport() as transport:
            with pytest.raises(Faulty, match=f"127.0.0.1:{port}: .*refused") as caught:
                await post(transport, f"http://127.0.0.1:{port}/v1")
            assert caught.value.cause is FaultCause.CONNECT

    asyncio.run(run())


def test_a_socket_reset_in_the_middle_of_a_reply_is_a_reset():
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(OK[:-1])
        await writer.drain()
        linger = struct.pack("ii", 1, 0)  # closes with RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    assert asyncio.run(failure_of(answer)).cause is FaultCause.RESET


def test_a_reply_that_stops_before_its_length_is_a_reset():
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"choices": [')

    error = asyncio.run(failure_of(answer))
    assert error.cause is FaultCause.RESET
    assert "ended early" in str(error)


def test_hanging_up_without_a_word_is_a_reset():
    async def answer(reader, writer):
        await read_request(reader)

    assert asyncio.run(failure_of(answer)).cause is FaultCause.RESET


@pytest.mark.parametrize("said", [b"", OK[:-1]], ids=["silence", "a stall in the body"])
def test_a_hang_times_out(said):
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(said)
        await asyncio.sleep(30)

    assert asyncio.run(failure_of(answer, timeout_s=0.05)).cause is FaultCause.TIMEOUT


def test_another_protocol_is_not_http():
    assert asyncio.run(failure_of(says(b"220 smtp ready\r\n\r\n"))).cause is FaultCause.BAD_REPLY


def test_no_error_and_no_traceback_shows_the_key():
    async def run():
        for answer in (says(b"what?\r\n\r\n"), says(b"")):
            error = await failure_of(answer, timeout_s=0.05)
            assert SECRET not in "".join(traceback.format_exception(error))
            assert error.__context__ is None
            assert error.__cause__ is None

    asyncio.run(run())


@pytest.mark.parametrize("key", ["sk-1\n", "sk-1\r\nhost: elsewhere", "sk-钥匙"])
def test_a_header_that_could_not_be_sent_as_one_is_named_and_not_shown(key):
    async def run():
        async with Transport() as transport:
            with pytest.raises(ValueError, match="authorization") as caught:
                await transport.post(
                    "http://127.0.0.1:1/", headers={"authorization": key}, body=b"", timeout_s=1
                )
            assert "sk-" not in "".join(traceback.format_exception(caught.value))

    asyncio.run(run())


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://host/", "http:///v1"])
def test_an_address_that_is_no_web_address_says_what_one_looks_like(url):
    async def run():
        async with Transport() as transport:
            with pytest.raises(ValueError, match="must begin with http:// or https://"):
                await post(transport, url)

    asyncio.run(run())


def test_a_cancelled_request_takes_its_connection_with_it():
    connections = []

    async def answer(reader, writer):
        connections.append(writer)
        first = len(connections) == 1
        while True:
            await read_request(reader)
            if first:
                await asyncio.sleep(0.05)
            writer.write(OK if first else OK.replace(b"ok", b"hi"))

    async def run():
        async with server(answer) as url, Transport() as transport:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await post(transport, url)
            # Were the connection kept, the late reply to the first would answer the second.
            assert (await post(transport, url)).body == b"hi"

    asyncio.run(run())


def test_a_server_that_is_not_ours_answers_in_chunks_and_compressed():
    async def stream(request):
        reply = web.StreamResponse()
        reply.enable_compression(web.ContentCoding.gzip)
        await reply.prepare(request)
        for word in (await request.text()).split():
            await reply.write(word.encode())
        await reply.write_eof()
        return reply

    async def run():
        app = web.Application()
        app.router.add_post("/", stream)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
        async with Transport() as transport:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            for _ in range(3):
                assert (await post(transport, url, b"so be it")).body == b"sobeit"
        await runner.cleanup()

    asyncio.run(run())


def chunked(total: int) -> bytes:
    piece = b"%X\r\n%s\r\n" % (2**20, b"x" * 2**20)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + piece * (total // 2**20)


def unpacking_to(total: int) -> bytes:
    packed = gzip.compress(bytes(total))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    return head + packed


@pytest.mark.parametrize("endless", [chunked, unpacking_to])
def test_a_reply_beyond_all_bounds_is_not_taken_however_it_comes(endless):
    error = asyncio.run(failure_of(says(endless(2**24 + 2**20))))
    assert error.cause is FaultCause.BAD_REPLY
    assert "16 MiB" in str(error)


def test_a_large_reply_within_bounds_comes_back_whole():
    async def run():
        async with server(says(unpacking_to(2**24 - 1))) as url, Transport() as transport:
            assert (await post(transport, url)).body == bytes(2**24 - 1)

    asyncio.run(run())


def test_no_log_shows_the_url_of_a_request(caplog):
    async def run():
        async with server(says(OK)) as url, Transport() as transport:
            await post(transport, f"{url}/v1?key={SECRET}")

    caplog.set_level(logging.INFO)
    asyncio.run(run())
    assert SECRET not in caplog.text


def test_a_cookie_is_not_sent_back():
    seen = []

    async def answer(reader, writer):
        while True:
            seen.append((await read_request(reader))[0])
            writer.write(OK.replace(b"OK\r\n", b"OK\r\nSet-Cookie: who=me; Path=/\r\n"))

    async def run():
        async with server(answer) as url, Transport() as transport:
            for _ in range(2):
                await post(transport, url)

    asyncio.run(run())
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()
