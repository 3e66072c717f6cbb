"""The ways to a judge: TLS and whom it trusts, and proxies, each a real process."""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import sys
import traceback
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from judges.client.http import Transport
from judges.verdict import FaultCause, Faulty

SECRET = "sk-very-secret"
HEADERS = {"authorization": f"Bearer {SECRET}", "content-type": "application/json"}
NAMED = "judge.invalid"
"""A host that only the proxy can find."""


@dataclass
class Answers:
    port: int
    heads: list[str]


@asynccontextmanager
async def answering(tls: ssl.SSLContext | None = None):
    """A server on loopback that says ok, and keeps the heads of what it was asked."""
    heads: list[str] = []

    async def handle(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                heads.append(head.decode())
                assert await reader.readexactly(2) == b"{}"
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        yield Answers(server.sockets[0].getsockname()[1], heads)
    finally:
        server.close()


async def post(transport: Transport, url: str) -> bytes:
    reply = await transport.post(url, headers=HEADERS, body=b"{}", timeout_s=20.0)
    return reply.body


async def failure(url: str) -> Faulty:
    async with Transport() as transport:
        with pytest.raises(Faulty) as caught:
            await post(transport, url)
    assert caught.value.cause is FaultCause.CONNECT
    return caught.value


@dataclass
class Proxy:
    url: str
    file: Path

    @property
    def heads(self) -> list[str]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


@pytest.fixture
def proxy(tmp_path):
    """A proxy to start: `with proxy(): ...` forwards, `with proxy(407): ...` says that to all."""

    @contextmanager
    def start(*status: int):
        file = tmp_path / "heads.jsonl"
        file.touch()
        command = [sys.executable, Path(__file__).parents[1] / "proxy.py", file, *map(str, status)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Proxy(f"http://127.0.0.1:{process.stdout.readline().strip()}", file)
            finally:
                process.kill()

    return start


@dataclass
class Authority:
    """Certificates of an authority of our own, for this machine and for NAMED."""

    file: Path
    tls: ssl.SSLContext


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make certificates")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(f"req -x509 {key} -days 2 -subj /CN=Own -keyout ca.key -out ca.pem")
    openssl(f"req {key} -subj /CN={NAMED} -keyout server.key -out server.csr")
    names = f"subjectAltName=DNS:localhost,DNS:{NAMED},IP:127.0.0.1"
    (folder / "names").write_text(names)
    sign = "x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names"
    openssl(f"{sign} -in server.csr -out server.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "server.pem", folder / "server.key")
    return Authority(folder / "ca.pem", tls)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def test_tls_to_a_server_of_an_authority_named_in_the_environment(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))

    async def run():
        async with answering(authority.tls) as server, Transport() as transport:
            for host in ("127.0.0.1", "127.0.0.1", "localhost"):
                assert await post(transport, f"https://{host}:{server.port}/v1") == b"ok"

    asyncio.run(run())


def test_tls_to_an_unknown_server_fails_before_anything_is_sent(authority):
    async def run():
        async with answering(authority.tls) as server:
            error = await failure(f"https://127.0.0.1:{server.port}/v1")
            assert not server.heads
        assert "not trusted" in str(error)
        assert "SSL_CERT_FILE" in str(error)

    asyncio.run(run())


def test_a_trusted_certificate_of_another_host_is_not_this_ones(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))

    async def run():
        async with answering(authority.tls) as server:
            error = await failure(f"https://127.0.0.2:{server.port}/v1")
            assert not server.heads
        assert "127.0.0.2" in str(error)

    if sys.platform == "linux":  # elsewhere only one address of loopback's is there
        asyncio.run(run())


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_named(content, tmp_path, monkeypatch):
    file = tmp_path / "own.pem"
    if content:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    async def run():
        async with Transport() as transport:
            with pytest.raises(
                ValueError, match=r"SSL_CERT_FILE is '.*own.pem' and cannot be read"
            ):
                await post(transport, "https://127.0.0.1:1/v1")

    asyncio.run(run())


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_tunnels_what_is_encrypted_and_does_not_see_the_key(
    variable, authority, proxy, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))

    async def run():
        async with answering(authority.tls) as server, Transport() as transport:
            for _ in range(2):
                assert await post(transport, f"https://{NAMED}:{server.port}/v1") == b"ok"
            return server

    with proxy() as asked:
        monkeypatch.setenv(variable, asked.url.replace("//", "//me:p%40ss@"))
        server = asyncio.run(run())
        (head,) = asked.heads  # the second went through the same tunnel
    assert head.startswith(f"CONNECT {NAMED}:{server.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in head
    assert SECRET not in head
    for head in server.heads:
        assert head.startswith(f"POST /v1 HTTP/1.1\r\nhost: {NAMED}:{server.port}\r\n")
        assert f"authorization: Bearer {SECRET}\r\n" in head
        assert "proxy-auth" not in head.lower()


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
def test_a_proxy_is_asked_for_the_whole_address_where_nothing_is_encrypted(
    variable, proxy, monkeypatch
):
    async def run():
        async with answering() as server, Transport() as transport:
            assert await post(transport, f"http://{NAMED}:{server.port}/v1") == b"ok"
            return server.port

    with proxy() as asked:
        monkeypatch.setenv(variable, asked.url.replace("//", "//me:pass@"))
        place = f"{NAMED}:{asyncio.run(run())}"
        (head,) = asked.heads
    assert head.startswith(f"POST http://{place}/v1 HTTP/1.1\r\nhost: {place}\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==\r\n" in head


def test_a_proxy_is_not_told_of_the_usual_port(proxy, monkeypatch):
    async def run():
        async with Transport() as transport:
            assert await post(transport, f"http://{NAMED}/v1") == b"ok"

    with proxy(200) as asked:
        monkeypatch.setenv("http_proxy", asked.url)
        asyncio.run(run())
        (head,) = asked.heads
    assert head.startswith(f"POST http://{NAMED}/v1 HTTP/1.1\r\nhost: {NAMED}\r\n")


@pytest.mark.parametrize(
    ("no_proxy", "through_it"),
    [
        ("", True),
        ("other.host,10.0.0.1,notinvalid", True),
        (f"other.host, {NAMED}", False),
        (".invalid", False),
        (f"{NAMED}:PORT", False),
        (f"{NAMED}:1", True),
        ("*", False),
    ],
)
def test_no_proxy_is_asked_for_what_it_exempts(no_proxy, through_it, proxy, monkeypatch):
    known = {NAMED: "127.0.0.1"}
    look_up = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **and_: look_up(known.get(host, host), *more, **and_),
    )

    async def run():
        async with answering() as server, Transport() as transport:
            monkeypatch.setenv("NO_PROXY", no_proxy.replace("PORT", str(server.port)))
            assert await post(transport, f"http://{NAMED}:{server.port}/v1") == b"ok"

    with proxy() as asked:
        monkeypatch.setenv("HTTP_PROXY", asked.url)
        monkeypatch.setenv("http_proxy", asked.url)
        asyncio.run(run())
        assert len(asked.heads) == through_it


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.9.9"])
def test_this_machine_is_never_asked_of_a_proxy(host, proxy, monkeypatch):
    async def run():
        async with answering() as server, Transport() as transport:
            if host == "127.9.9.9":  # nothing listens there, and the proxy is not to say so
                await failure(f"http://{host}:{server.port}/v1")
            else:
                assert await post(transport, f"http://{host}:{server.port}/v1") == b"ok"

    with proxy() as asked:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, asked.url)
        asyncio.run(run())
        assert not asked.heads


def test_a_proxy_that_refuses_is_a_failed_connection(proxy, monkeypatch):
    with proxy(407) as asked:
        monkeypatch.setenv("https_proxy", asked.url)
        error = asyncio.run(failure(f"https://{NAMED}/v1"))
    assert "the proxy answered HTTP 407" in str(error)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("socks5://127.0.0.1:1", "set HTTPS_PROXY"),
        ("http://me:hunter2@127.0.0.1:1", "its proxy: Connection refused"),
        ("http://me:hunter2/more@127.0.0.1:1", "set HTTPS_PROXY"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(url, said, monkeypatch):
    monkeypatch.setenv("all_proxy", url)
    error = asyncio.run(failure(f"https://{NAMED}/v1"))
    assert said in str(error)
    assert "hunter2" not in "".join(traceback.format_exception(error))
