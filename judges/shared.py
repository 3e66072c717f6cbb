"""One judge for all ranks of a run: rank 0 holds it, the others ask it over a connection.

So there is one limiter, one budget, one ledger, and an answer two ranks share is paid for once.

    async with make_judge(config) as judge, JudgeHost(judge) as address:   # rank 0
        ...                                                                # broadcasts the address
    async with RemoteJudge(address) as judge:                              # every other rank
        verdicts = await judge.score(requests)
"""

import asyncio
import hmac
import itertools
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Self

from judges.breaker import wait_until_alive
from judges.budget import BudgetExceeded
from judges.judge import Judge
from judges.stats import JudgeStats, Tally
from judges.verdict import FaultCause, JudgeFault, JudgeRequest, Scored, Usage, Verdict

LONGEST_LINE_BYTES = 2**26
IS_ALIVE = None
"""Sent in the place of a request."""

Message = dict[str, Any]


class JudgeHost:
    """Entering gives the address. Whoever has it may ask, so it holds a token."""

    def __init__(self, judge: Judge, *, host: str = "127.0.0.1") -> None:
        self._judge = judge
        self._host = host
        self._token = secrets.token_hex(16)
        self._ranks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(
            self._serve, self._host, 0, limit=LONGEST_LINE_BYTES
        )
        port = self._server.sockets[0].getsockname()[1]
        return f"{self._token}@{self._host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._ranks.values():
            writer.close()
        await asyncio.gather(*self._ranks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering: set[asyncio.Task[None]] = set()
        serving = asyncio.current_task()
        assert serving is not None
        self._ranks[serving] = writer
        try:
            if not hmac.compare_digest((await reader.readline()).strip(), self._token.encode()):
                return
            while line := await reader.readline():
                task = asyncio.create_task(self._answer(json.loads(line), writer))
                answering.add(task)
                task.add_done_callback(answering.discard)
        except ConnectionError:
            pass  # that rank is gone, and what it asked is wanted no more
        finally:
            for task in answering:
                task.cancel()
            del self._ranks[serving]
            writer.close()

    async def _answer(self, message: Message, writer: asyncio.StreamWriter) -> None:
        reply: Message = {"id": message["id"]}
        try:
            if message["request"] is IS_ALIVE:
                reply["alive"] = await self._judge.is_alive()
            else:
                verdict = await self._judge.score_one(_request(message["request"]))
                reply["scored" if isinstance(verdict, Scored) else "fault"] = asdict(verdict)
        except BudgetExceeded as error:
            reply["budget"] = str(error)
        except Exception as error:  # it is the other rank's to raise
            reply["error"] = f"{type(error).__name__}: {error}"
        writer.write(json.dumps(reply).encode() + b"\n")
        await writer.drain()


class RemoteJudge:
    """The judge of another process, with the same methods. `stats` counts what was asked here."""

    def __init__(self, address: str) -> None:
        self._token, _, place = address.partition("@")
        self._host, _, self._port = place.rpartition(":")
        self._ids = itertools.count()
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._tally = Tally()

    async def __aenter__(self) -> Self:
        reader, self._writer = await asyncio.open_connection(
            self._host, int(self._port), limit=LONGEST_LINE_BYTES
        )
        self._writer.write(self._token.encode() + b"\n")
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        self._reading.cancel()

    async def score(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        tasks = [asyncio.create_task(self.score_one(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def score_one(self, request: JudgeRequest) -> Verdict:
        self._tally.in_flight += 1
        try:
            verdict = _verdict(await self._ask(asdict(request)))
        finally:
            self._tally.in_flight -= 1
        self._tally.add(verdict)
        return verdict

    async def is_alive(self) -> bool:
        return bool((await self._ask(IS_ALIVE))["alive"])

    async def wait_until_alive(
        self, *, on_pause: Callable[[], None], on_resume: Callable[[float], None]
    ) -> None:
        await wait_until_alive(self.is_alive, on_pause=on_pause, on_resume=on_resume)

    def stats(self) -> JudgeStats:
        return self._tally.snapshot(())

    async def _ask(self, request: Message | None) -> Message:
        if self._reading.done():
            raise ConnectionError(_GONE)
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "request": request}
        self._writer.write(json.dumps(message).encode() + b"\n")
        try:
            reply = await answer
        finally:
            del self._asked[number]
        if "budget" in reply:
            raise BudgetExceeded(reply["budget"])
        if "error" in reply:
            raise RuntimeError(f"the judge on rank 0 failed: {reply['error']}")
        return reply

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                reply: Message = json.loads(line)
                answer = self._asked.get(reply["id"])
                if answer is not None and not answer.done():
                    answer.set_result(reply)
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(ConnectionError(_GONE))


_GONE = "the rank that holds the judge has ended"


def _request(fields: Message) -> JudgeRequest:
    fields["aliases"] = tuple(fields["aliases"])
    return JudgeRequest(**fields)


def _verdict(reply: Message) -> Verdict:
    fields: Message = reply.get("scored") or reply["fault"]
    fields["usage"] = Usage(**fields["usage"])
    if "scored" in reply:
        return Scored(**fields)
    fields["cause"] = FaultCause(fields["cause"])
    return JudgeFault(**fields)
