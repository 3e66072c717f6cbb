"""Ranks in processes of their own, one judge for all of them, and a server that counts."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from judges import FaultCause, JudgeConfig, JudgeFault, JudgeRequest, Scored, make_judge
from judges.budget import BudgetExceeded
from judges.shared import JudgeHost, RemoteJudge
from judges.verdict import Usage


class Counting:
    """A judge that says `same` to all, slowly, and knows how many asked at once."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.asked = self.in_flight = self.most_in_flight = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.02)
        self.in_flight -= 1
        verdict = json.dumps({"rationale": "诊断相同。", "tier": "same"})
        reply = {
            "choices": [{"message": {"content": verdict}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        }
        return web.json_response(reply, status=self.status)


@asynccontextmanager
async def hosting(server: Counting, **config):
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    judge_config = JudgeConfig(backend="custom", model="m", url=url, **config)
    try:
        async with make_judge(judge_config) as judge, JudgeHost(judge) as address:
            yield judge, address
    finally:
        await runner.cleanup()


def request(name: str) -> JudgeRequest:
    return JudgeRequest(question=f"{name}?", truth="T", answer="A\n诊断", aliases=("a", "b"))


RANK = """
    import asyncio, sys
    from judges import JudgeRequest, Scored
    from judges.shared import RemoteJudge

    async def main(address, rank):
        requests = [JudgeRequest(question=f"{rank} {n}?", truth="T", answer="A") for n in range(30)]
        requests.append(JudgeRequest(question="of all?", truth="T", answer="A"))
        async with RemoteJudge(address) as judge:
            verdicts = await judge.score(requests)
        print(sum(isinstance(verdict, Scored) for verdict in verdicts))

    asyncio.run(main(*sys.argv[1:]))
"""


def test_ranks_share_one_limiter_and_pay_once_for_what_they_have_in_common():
    async def rank(address: str, number: int) -> int:
        root = Path(__file__).parents[2]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", textwrap.dedent(RANK), address, str(number)),
            stdout=subprocess.PIPE,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        output, _ = await process.communicate()
        return int(output)

    async def run():
        server = Counting()
        async with hosting(server, max_in_flight=5) as (judge, address):
            scored = await asyncio.gather(*(rank(address, number) for number in range(3)))
            assert scored == [31, 31, 31]
            assert server.most_in_flight <= 5
            assert judge.stats().scored == 93

    asyncio.run(run())


def test_a_verdict_crosses_over_whole():
    async def run():
        async with hosting(Counting()) as (_, address), RemoteJudge(address) as judge:
            verdict = await judge.score_one(request("Q"))
            assert isinstance(verdict, Scored)
            assert (verdict.tier, verdict.score, verdict.rationale) == ("same", 2.0, "诊断相同。")
            assert verdict.usage == Usage(input_tokens=10, output_tokens=5)
            assert await judge.is_alive()
            assert judge.stats().tiers == {"same": 1}

    asyncio.run(run())


def test_a_fault_crosses_over_as_a_fault():
    async def run():
        async with hosting(Counting(status=401)) as (_, address), RemoteJudge(address) as judge:
            verdict = await judge.score_one(request("Q"))
            assert isinstance(verdict, JudgeFault)
            assert verdict.cause is FaultCause.AUTH
            assert judge.stats().faults == {"auth": 1}

    asyncio.run(run())


def test_one_budget_stops_every_rank():
    async def run():
        server = Counting()
        async with hosting(server, max_calls=3) as (_, address), RemoteJudge(address) as judge:
            with pytest.raises(BudgetExceeded, match=r"judge\.max_calls is 3"):
                await judge.score([request(str(n)) for n in range(10)])
            assert server.asked <= 3

    asyncio.run(run())


def test_without_the_token_nothing_is_asked():
    async def run():
        server = Counting()
        async with hosting(server) as (_, address):
            stranger = "0" * 32 + "@" + address.partition("@")[2]
            async with RemoteJudge(stranger) as judge:
                with pytest.raises(ConnectionError):
                    await judge.score_one(request("Q"))
        assert server.asked == 0

    asyncio.run(run())


def test_when_the_rank_with_the_judge_ends_the_others_are_told():
    async def run():
        server = Counting()
        async with hosting(server) as (_, address):
            judge = await RemoteJudge(address).__aenter__()
            assert isinstance(await judge.score_one(request("Q")), Scored)
            waiting = asyncio.ensure_future(judge.score_one(request("R")))
            await asyncio.sleep(0)
        with pytest.raises(ConnectionError, match="the rank that holds the judge has ended"):
            await asyncio.wait_for(waiting, 5)
        with pytest.raises(ConnectionError):
            await judge.score_one(request("S"))
        await judge.__aexit__()

    asyncio.run(run())
