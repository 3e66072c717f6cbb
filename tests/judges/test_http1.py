"""Replies are read the same however they arrive; what could be read in two ways is refused."""

import contextlib
import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.http1 import NotHttp, Received, Reset, TransportError, read_reply


def read(*pieces: bytes, then_end: bool = True):
    received = Received()
    reading = read_reply(received)
    try:
        for piece in pieces:
            received.data += piece
            next(reading)
        received.ended = then_end
        next(reading)
    except StopIteration as end:
        return end.value
    raise AssertionError("it wants more")


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(raw)) for place in places), len(raw)]
    return [raw[a:b] for a, b in itertools.pairwise(edges) if a < b]


@given(body=st.binary(max_size=300), places=st.lists(st.integers(0, 400), max_size=8))
def test_a_reply_with_a_length_is_the_same_in_any_pieces(body, places):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-A: 1\r\n\r\n%s" % (len(body), body)
    reply, reusable = read(*cut(raw, places))
    assert (reply.status, reply.body, reply.headers["x-a"]) == (200, body, "1")
    assert reusable


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=60), max_size=6),
    places=st.lists(st.integers(0, 600), max_size=8),
    trailer=st.sampled_from([b"", b"X-Checksum: 1\r\n"]),
)
def test_a_chunked_reply_is_the_same_in_any_pieces(chunks, places, trailer):
    coded = b"".join(b"%X;note=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n%s0\r\n%s\r\n" % (coded, trailer)
    reply, reusable = read(*cut(raw, places))
    assert reply.body == b"".join(chunks)
    assert reusable


@given(raw=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=4))
def test_noise_ends_in_a_reply_or_a_named_error_and_nothing_else(raw, places):
    with contextlib.suppress(TransportError):
        assert read(*cut(b"HTTP/1.1 200 OK\r\n" + raw, places))[0].status == 200


@given(keep=st.integers(0, 60))
def test_a_reply_cut_anywhere_is_an_error_and_never_a_shorter_reply(keep):
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n" + b"x" * 20
    with pytest.raises(Reset):
        read(raw[: min(keep, len(raw) - 1)])


def test_a_reply_without_a_length_ends_with_the_connection():
    reply, reusable = read(b"HTTP/1.0 200 OK\r\n\r\nab", b"cd")
    assert reply.body == b"abcd"
    assert not reusable


def test_hints_before_the_reply_are_passed_over():
    reply, _ = read(
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    )
    assert (reply.status, reply.body) == (200, b"ok")


def test_no_content_has_no_body_and_keeps_the_connection():
    reply, reusable = read(b"HTTP/1.1 204 No Content\r\n\r\n", then_end=False)
    assert (reply.status, reply.body) == (204, b"")
    assert reusable


def test_a_close_and_what_comes_after_the_reply_end_the_connection():
    assert not read(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")[1]
    assert not read(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc")[1]
    assert not read(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na")[1]
    assert read(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na")[1]


def test_compression_nobody_asked_for_is_undone():
    packed = gzip.compress(b"verdict" * 50)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert read(head + packed)[0].body == b"verdict" * 50


BAD = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na",
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
def test_what_is_not_plain_http_is_refused(what):
    with pytest.raises(NotHttp):
        read(BAD[what], then_end=False)


def test_a_length_and_chunks_at_once_are_read_as_chunks_and_end_the_connection():
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply, reusable = read(raw + b"2\r\nok\r\n0\r\n\r\n")
    assert reply.body == b"ok"
    assert not reusable
