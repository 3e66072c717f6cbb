"""The transport against servers that misbehave at the socket, and ones that are not ours."""

import asyncio
import shutil
import socket
import ssl
import struct
import subprocess
import traceback
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from judges.transport import ConnectFailed, NotHttp, Reset, TimedOut, Transport, TransportError

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


async def failure_of(answer, timeout_s: float = 20.0) -> TransportError:
    async with server(answer) as url, Transport() as transport:
        with pytest.raises(TransportError) as caught:
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
            with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port}: .*refused"):
                await post(transport, f"http://127.0.0.1:{port}/v1")

    asyncio.run(run())


def test_a_socket_reset_in_the_middle_of_a_reply_is_a_reset():
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(OK[:-1])
        await writer.drain()
        linger = struct.pack("ii", 1, 0)  # closes with RST
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    assert isinstance(asyncio.run(failure_of(answer)), Reset)


def test_a_reply_that_stops_before_its_length_is_a_reset():
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"choices": [')

    error = asyncio.run(failure_of(answer))
    assert isinstance(error, Reset)
    assert "ended early" in str(error)


def test_hanging_up_without_a_word_is_a_reset():
    async def answer(reader, writer):
        await read_request(reader)

    assert isinstance(asyncio.run(failure_of(answer)), Reset)


@pytest.mark.parametrize("said", [b"", OK[:-1]], ids=["silence", "a stall in the body"])
def test_a_hang_times_out(said):
    async def answer(reader, writer):
        await read_request(reader)
        writer.write(said)
        await asyncio.sleep(30)

    assert isinstance(asyncio.run(failure_of(answer, timeout_s=0.05)), TimedOut)


def test_another_protocol_is_not_http():
    assert isinstance(asyncio.run(failure_of(says(b"220 smtp ready\r\n\r\n"))), NotHttp)


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


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    make += " -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    make += " -keyout key.pem -out cert.pem"
    subprocess.run(make.split(), cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


def tls_server(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return server(says(OK), ssl=context)


def test_tls_to_a_trusted_server(certificate):
    async def run():
        trusting = ssl.create_default_context(cafile=certificate[0])
        async with tls_server(certificate) as url, Transport(tls=trusting) as transport:
            for _ in range(2):
                assert (await post(transport, url.replace("http", "https"))).body == b"ok"

    asyncio.run(run())


def test_tls_to_an_unknown_server_fails_before_anything_is_sent(certificate):
    async def run():
        async with tls_server(certificate) as url, Transport() as transport:
            with pytest.raises(ConnectFailed, match=r"not trusted .* SSL_CERT_FILE"):
                await post(transport, url.replace("http", "https"))

    asyncio.run(run())


def pipe_through(heads: list[bytes]):
    """A proxy: CONNECT opens a tunnel to this machine, anything else is answered here."""

    async def copy(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        if not head.startswith(b"CONNECT"):
            writer.write(OK)
            await writer.drain()
            return
        port = int(head.split()[1].rpartition(b":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    return answer


def test_a_proxy_tunnels_what_is_encrypted_and_does_not_see_the_key(certificate, monkeypatch):
    heads: list[bytes] = []

    async def run():
        trusting = ssl.create_default_context(cafile=certificate[0])
        async with tls_server(certificate) as url, server(pipe_through(heads)) as proxy:
            # Loopback is never asked of a proxy, so the far end goes by a name only it knows.
            monkeypatch.setenv("https_proxy", proxy.replace("//", "//me:pass@"))
            trusting.check_hostname = False
            port = url.rpartition(":")[2]
            async with Transport(tls=trusting) as transport:
                reply = await post(transport, f"https://judge.invalid:{port}/v1")
                assert reply.body == b"ok"
        return port

    port = asyncio.run(run())
    assert heads[0].startswith(f"CONNECT judge.invalid:{port} HTTP/1.1\r\n".encode())
    assert b"proxy-authorization: Basic bWU6cGFzcw==" in heads[0]
    assert SECRET.encode() not in heads[0]


def test_a_proxy_is_asked_for_the_whole_address_where_nothing_is_encrypted(monkeypatch):
    heads: list[bytes] = []

    async def run():
        async with server(pipe_through(heads)) as proxy, Transport() as transport:
            monkeypatch.setenv("http_proxy", proxy)
            assert (await post(transport, "http://judge.invalid/v1")).body == b"ok"

    asyncio.run(run())
    assert heads[0].startswith(b"POST http://judge.invalid/v1 HTTP/1.1\r\nhost: judge.invalid\r\n")


def test_a_proxy_that_refuses_is_a_failed_connection(monkeypatch):
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    async def run():
        async with server(refuse) as proxy, Transport() as transport:
            monkeypatch.setenv("https_proxy", proxy)
            with pytest.raises(ConnectFailed, match="the proxy answered HTTP 407"):
                await post(transport, "https://judge.invalid/v1")

    asyncio.run(run())


def test_this_machine_is_never_asked_of_a_proxy(monkeypatch):
    async def run():
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        async with server(says(OK)) as url, Transport() as transport:
            assert (await post(transport, url)).body == b"ok"

    asyncio.run(run())


def test_a_proxy_of_another_kind_says_what_to_set(monkeypatch):
    async def run():
        monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
        async with Transport() as transport:
            with pytest.raises(ConnectFailed, match="set HTTPS_PROXY"):
                await post(transport, "https://judge.invalid/v1")

    asyncio.run(run())
