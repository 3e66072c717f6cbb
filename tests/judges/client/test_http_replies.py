"""Replies are read the same however they arrive; what could be read in two ways is refused."""

import asyncio
import contextlib
import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.client.http import Transport
from judges.verdict import FaultCause, Faulty


class Peer:
    """A server that answers each request with the same pieces, and a client that asks it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._pieces: tuple[bytes, ...] = ()
        self._then_end = True
        self._asked_over: list[asyncio.StreamWriter] = []
        self._runner.run(self._open())

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self._url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        self._transport = await Transport().__aenter__()

    async def _answer(self, reader, writer) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self._asked_over.append(writer)
                for piece in self._pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)  # the client's turn to read
                if self._then_end:
                    break
        writer.close()

    def read(self, *pieces: bytes, then_end: bool = True):
        """The reply, and whether the connection it came by brings the next one too."""
        self._pieces, self._then_end = pieces, then_end
        self._asked_over.clear()
        reply = self._runner.run(self._ask())
        assert self._runner.run(self._ask()) == reply
        first, second = self._asked_over
        return reply, first is second

    async def _ask(self):
        for _ in range(5):  # what the server closed after the last reply is seen to be closed
            await asyncio.sleep(0)
        return await self._transport.post(self._url, headers={}, body=b"", timeout_s=20.0)

    def close(self) -> None:
        async def close() -> None:
            await self._transport.__aexit__()
            self._server.close()

        self._runner.run(close())
        self._runner.close()


@pytest.fixture(scope="module")
def peer():
    peer = Peer()
    yield peer
    peer.close()


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(raw)) for place in places), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges) if a < b]


@given(body=st.binary(max_size=300), places=st.lists(st.integers(0, 400), max_size=8))
def test_a_reply_with_a_length_is_the_same_in_any_pieces(peer, body, places):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n%s" % (len(body), body)
    reply, reusable = peer.read(*cut(raw, places), then_end=False)
    assert (reply.status, reply.body, reply.headers["x-a"]) == (200, body, "1")
    assert reusable


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=6),
    places=st.lists(st.integers(0, 600), max_size=8),
    trailer=st.sampled_from([b"", b"X-Checksum: 1\r\n"]),
)
def test_a_chunked_reply_is_the_same_in_any_pieces(peer, chunks, places, trailer):
    coded = b"".join(b"%X;note=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n%s0\r\n%s\r\n" % (coded, trailer)
    reply, reusable = peer.read(*cut(raw, places), then_end=False)
    assert reply.body == b"".join(chunks)
    assert reusable


@given(raw=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=4))
def test_noise_ends_in_a_reply_or_a_named_error_and_nothing_else(peer, raw, places):
    with contextlib.suppress(Faulty):
        assert peer.read(*cut(b"HTTP/1.1 200 OK\r\n" + raw, places))[0].status == 200


@given(keep=st.integers(0, 60))
def test_a_reply_cut_anywhere_is_an_error_and_never_a_shorter_reply(peer, keep):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20
    with pytest.raises(Faulty) as caught:
        peer.read(raw[: min(keep, len(raw) - 1)])
    assert caught.value.cause is FaultCause.RESET


def test_a_reply_without_a_length_ends_with_the_connection(peer):
    reply, reusable = peer.read(b"HTTP/1.0 200 OK\r\n\r\nab", b"cd")
    assert reply.body == b"abcd"
    assert not reusable


def test_hints_before_the_reply_are_passed_over(peer):
    reply, _ = peer.read(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    )
    assert (reply.status, reply.body) == (200, b"ok")


def test_no_content_has_no_body_and_keeps_the_connection(peer):
    reply, reusable = peer.read(b"HTTP/1.1 204 No Content\r\n\r\n", then_end=False)
    assert (reply.status, reply.body) == (204, b"")
    assert reusable


@pytest.mark.parametrize(
    ("raw", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", True),
    ],
)
def test_a_connection_is_kept_as_the_reply_says(peer, raw, keeps):
    assert peer.read(raw, then_end=False)[1] is keeps


def test_compression_nobody_asked_for_is_undone(peer):
    packed = gzip.compress(b"verdict" * 50)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert peer.read(head + packed)[0].body == b"verdict" * 50


BAD = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "more than its length": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc",
    "a length and chunks at once": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length beyond all bounds": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    "an unknown transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "a chunk without a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk too long": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\n\r\n",
    "an unknown encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\na",
    "broken gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "half of a gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n"
    + gzip.compress(b"verdict" * 50)[:12],
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_plain_http_is_refused(peer, what):
    with pytest.raises(Faulty) as caught:
        peer.read(BAD[what], then_end=False)
    assert caught.value.cause is FaultCause.BAD_REPLY


@pytest.mark.parametrize("oddity", [b"A: 1\r\n 2\r\nContent-Length: 1", b"Content-Length : 1"])
def test_what_is_odd_and_plain_all_the_same_is_read(peer, oddity):
    reply, _ = peer.read(b"HTTP/1.1 200 OK\r\n%s\r\n\r\na" % oddity, then_end=False)
    assert reply.body == b"a"
