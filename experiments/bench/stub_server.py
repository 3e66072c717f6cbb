"""A judge that costs next to nothing to run: every request is answered alike, after a while.

A process of its own, so that a benchmark's CPU time is the client's alone. Prints `ready URL`.
"""

import argparse
import asyncio
import json
import random

from judges.serve.child import die_with_parent

MEDIAN_LATENCY_S = 0.2
SPREAD = 0.3

_VERDICT = {"rationale": "It names what the reference names, in other words.", "tier": "same"}
_COMPLETION = {
    "id": "chatcmpl-0",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "stub",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": json.dumps(_VERDICT)},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 900, "completion_tokens": 25, "total_tokens": 925},
}
_BODY = json.dumps(_COMPLETION).encode()
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


class Stub(asyncio.Protocol):
    """Knows as much HTTP as it takes to find where a request ends."""

    def __init__(self, latency: random.Random) -> None:
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._received[:head_end].lower()
        _, _, rest = head.partition(b"\r\ncontent-length:")
        if len(self._received) >= head_end + 4 + int(rest.split(b"\r\n")[0]):
            self._received = b""
            latency_s = MEDIAN_LATENCY_S * self._latency.lognormvariate(0.0, SPREAD)
            asyncio.get_running_loop().call_later(latency_s, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_REPLY)


async def serve(port: int) -> None:
    latency = random.Random(0)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(latency), "127.0.0.1", port, backlog=4096)
    print(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is any free one")
    parser.add_argument("--with-parent", action="store_true", help="end when stdin does")
    args = parser.parse_args()
    if args.with_parent:
        die_with_parent()
    asyncio.run(serve(args.port))


if __name__ == "__main__":
    main()
