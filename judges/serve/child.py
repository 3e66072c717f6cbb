"""A server in a child process that cannot outlive its parent: both sides of it."""

import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

START_S = 60.0
STOP_S = 5.0


class ChildServer:
    """`python -m judges serve ...`, from entering to leaving. `url` is known once entered."""

    def __init__(self, args: list[str]) -> None:
        self._args = args
        self._process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def __aenter__(self) -> "ChildServer":
        await self._start(port="0")
        return self

    async def revive(self) -> None:
        """Start it again, at the same address, if it has ended."""
        if self._process and self._process.returncode is not None:
            await self._start(port=self.url.removesuffix("/v1").rpartition(":")[2])

    async def _start(self, *, port: str) -> None:
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        keyless = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        command = (sys.executable, "-m", "judges", "serve", "--with-parent", "--port", port)
        self._process = await asyncio.create_subprocess_exec(
            *(*command, *self._args),
            stdin=asyncio.subprocess.PIPE,  # its end tells the child that we are gone
            stdout=asyncio.subprocess.PIPE,
            env={**keyless, "PYTHONPATH": path},
        )
        assert self._process.stdout
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_S)
        except TimeoutError:
            line = b""
        except BaseException:
            await self._stop()
            raise
        word, _, url = line.decode().strip().partition(" ")
        if word != "ready":
            await self._stop()
            raise RuntimeError(
                "the embedded judge did not start; `python -m judges serve "
                f"{' '.join(self._args)}` shows why"
            )
        self.url = url

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def die_with_parent() -> None:
    """Called by the child: end when the parent does, however it ends: the pipe on stdin ends too.

    Ctrl-C reaches the whole group, and it is the parent that decides when its judge stops.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()


def _exit_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)
