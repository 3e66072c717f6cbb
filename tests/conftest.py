"""Every test runs without the outside: loopback only, no keys, one thread, no W&B service."""

import contextlib
import http.server
import ipaddress
import json
import os
import signal
import socket
import threading

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
# One core for vLLM, the other for whatever else is tested: two threads that wait for each other on
# a busy machine can be twenty times slower than one.
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "0")
os.environ.update(
    HF_HUB_OFFLINE="1", WANDB_MODE="offline", WANDB_DISABLE_WEAVE="1", WANDB_SILENT="true"
)

# A slow machine is no fault of what is tested.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

# A shell starts what it puts in the background deaf to Ctrl-C, and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex


def _refuse_outside(sock: socket.socket, address: object) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = str(address[0])  # type: ignore[index]
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise PermissionError(f"tests may only reach loopback, not {host}")


def pytest_collection_modifyitems(items):
    """Long ones first: two workers then end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def _only_loopback():
    def connect(sock, address):
        _refuse_outside(sock, address)
        return _connect(sock, address)

    def connect_ex(sock, address):
        _refuse_outside(sock, address)
        return _connect_ex(sock, address)

    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex
    yield
    socket.socket.connect, socket.socket.connect_ex = _connect, _connect_ex


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


@contextlib.contextmanager
def _serving(answer, headers=None):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(*answer(self.path, None))

        def do_POST(self):
            if headers is not None:
                headers.append(dict(self.headers))
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                body = json.loads(asked)
            except ValueError:
                body = asked
            self.reply(*answer(self.path, body))

        def reply(self, status, body):
            text = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def serving():
    """`with serving(answer) as url`: a server on loopback, whose `answer(path, body)` is a status
    and what is sent, a text as it is and all else as JSON. The body of a GET is None; `headers`
    takes those of POSTs."""
    return _serving


@pytest.fixture
def refusing_url(serving):
    """A server on loopback that knows nobody's key."""
    with serving(lambda path, body: (401, "no such key")) as url:
        yield url
