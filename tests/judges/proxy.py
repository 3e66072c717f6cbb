"""A forwarding proxy, run as a process: CONNECT opens a tunnel, a whole address is fetched.

Every name leads to this machine. It writes each request's head to a file, as a JSON string a line,
and prints its port when it listens. With a status it answers everything itself.

    python proxy.py HEADS_FILE [STATUS]
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def forward(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    method, target, rest = head.decode().split(" ", 2)
    tunnel = method == "CONNECT"
    to = urlsplit(f"//{target}" if tunnel else target)
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to.port)
    if tunnel:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        far_writer.write(f"{method} {to.path} {rest}".encode())
    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))


async def main(heads_file: str, status: str = "") -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        with open(heads_file, "a") as heads:  # noqa: ASYNC230
            heads.write(json.dumps(head.decode()) + "\n")
        if status:
            writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: 2\r\n\r\nok".encode())
            writer.close()
        else:
            await forward(head, reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
