"""The judge a run holds: enter it, hand it requests, get verdicts in the same order."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from judges.asker import Asker
from judges.backends import Backend, resolve
from judges.child import ChildServer
from judges.config import JudgeConfig
from judges.rubric import Rubric, load_rubric
from judges.rules import load_known
from judges.stats import JudgeStats, Tally
from judges.transport import Transport
from judges.verdict import FaultCause, Faulty, JudgeFault, JudgeRequest, Verdict


def make_judge(config: JudgeConfig) -> "Judge":
    """Raises ValueError for whatever is wrong with the config. Touches no network."""
    rubric = load_rubric(config.rubric)
    if config.backend == "rules":
        rubric.check_rules()
        if config.known:
            load_known(config.known)
    return Judge(config, rubric, resolve(config))


class Judge:
    """`async with make_judge(config) as judge: verdicts = await judge.score(requests)`."""

    def __init__(self, config: JudgeConfig, rubric: Rubric, backend: Backend) -> None:
        self.config = config
        self.rubric = rubric
        self._backend = backend
        self._tally = Tally()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "Judge":
        async with AsyncExitStack() as opening:
            backend = self._backend
            if backend.name == "rules" and backend.url is None:
                args = ["--rubric", self.config.rubric]
                args += ["--known", self.config.known] if self.config.known else []
                server = await opening.enter_async_context(ChildServer(args))
                backend = replace(backend, url=server.url)
            transport = await opening.enter_async_context(Transport())
            self._asker = Asker(
                backend, self.rubric, self.config, send=transport.post, spent=self._tally.spend
            )
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def score(self, requests: Sequence[JudgeRequest]) -> list[Verdict]:
        """A verdict for each request, in order; what is missing at the deadline is a fault."""
        return list(await asyncio.gather(*(self.score_one(request) for request in requests)))

    async def score_one(self, request: JudgeRequest) -> Verdict:
        started_s = time.monotonic()
        self._tally.in_flight += 1
        try:
            async with asyncio.timeout(self.config.deadline_s):
                verdict: Verdict = await self._asker.ask(request)
        except Faulty as fault:
            verdict = JudgeFault(
                cause=fault.cause,
                detail=fault.detail,
                latency_s=time.monotonic() - started_s,
                usage=fault.usage,
            )
        except TimeoutError:
            verdict = JudgeFault(
                cause=FaultCause.DEADLINE,
                detail=f"no verdict within {self.config.deadline_s} s",
                latency_s=time.monotonic() - started_s,
            )
        finally:
            self._tally.in_flight -= 1
        self._tally.add(verdict)
        return verdict

    def stats(self) -> JudgeStats:
        return self._tally.snapshot()
