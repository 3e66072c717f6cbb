"""What does a judge's client cost, with 64, 256 and 1,024 requests in flight?

Ours is the whole of `make_judge`: prompt, limits, retries, ledger, reading of the verdict. Beside
it, on the same stub, clients that send a fixed request and decode the JSON: aiohttp, AsyncOpenAI
and httpx with its own pool; and two that take ours apart, `transport` (a ready httpx request given
to our transport, without httpx's client) and `post` (all that sends, without what judges). CPU
microseconds a request are process time over requests, threads included. Each measurement is a
process of its own on one core, the stub on another; the arms take turns, and the median of the
rounds counts.

    python -m experiments.bench.judge_client
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from judges import JudgeConfig, JudgeRequest, Scored, make_judge
from judges.rubric.prompt import grading_prompt
from judges.rubric.rubric import load_rubric

LEVELS = (64, 256, 1024)
ROUNDS = {"ours": 5, "aiohttp": 5, "transport": 5, "post": 5, "openai": 2, "httpx": 1}
"""The slow ones take most of the time, and need the fewest to be told apart."""

Measured = tuple[float, float, int]  # CPU seconds, wall seconds, lost


def requests_measured(arm: str, level: int) -> int:
    if arm in ("openai", "httpx"):
        return level
    return (16 if level < 256 else 4) * level


def judge_request(n: int) -> JudgeRequest:
    """A batch of groups, as a run has them: an answer of its own each, a question every 24."""
    answer = f"Case {n}. " + "Swollen, bleeding gums point to a lack of vitamin C. " * 6
    return JudgeRequest(
        question=f"Patient {n % 24}: which vitamin's deficiency causes scurvy?",
        truth="Vitamin C",
        answer=answer,
        aliases=("ascorbic acid", "ascorbate"),
    )


def payload() -> dict[str, object]:
    prompt = grading_prompt(judge_request(0), load_rubric("medical_en"), "schema", defences=True)
    return {
        "model": "stub",
        "messages": [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": prompt.user},
        ],
        "temperature": 0.0,
        "max_tokens": 512,
        "response_format": {"type": "json_object"},
    }


async def in_flight(one: Callable[[], Awaitable[None]], level: int, count: int) -> Measured:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await one()

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(level)))
    return time.process_time() - cpu, time.perf_counter() - wall, 0


async def ours(url: str, level: int, count: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        config = JudgeConfig(
            backend="custom",
            url=url,
            model="stub",
            max_in_flight=level,
            rpm=10_000_000,
            tpm=10_000_000_000,
            ledger=str(Path(folder) / "ledger.sqlite"),
        )
        async with make_judge(config) as judge:
            warm_up = [judge_request(-n) for n in range(1, 2 * level + 1)]
            await judge.score(warm_up)  # to open the connections and the adaptive limit
            requests = [judge_request(n) for n in range(count)]
            wall, cpu = time.perf_counter(), time.process_time()
            verdicts = await judge.score(requests)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu, wall, sum(not isinstance(verdict, Scored) for verdict in verdicts)


async def aiohttp(url: str, level: int, count: int) -> Measured:
    import aiohttp

    body = payload()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one() -> None:
            async with session.post(f"{url}/chat/completions", json=body) as response:
                json.loads((await response.json())["choices"][0]["message"]["content"])

        await in_flight(one, level, level)
        return await in_flight(one, level, count)


async def transport(url: str, level: int, count: int) -> Measured:
    import httpx

    from judges.client.http import AiohttpTransport

    body = payload()
    async with AiohttpTransport() as ours:

        async def one() -> None:
            content = json.dumps(body).encode()
            request = httpx.Request("POST", f"{url}/chat/completions", content=content)
            response = await ours.handle_async_request(request)
            json.loads(response.json()["choices"][0]["message"]["content"])

        await in_flight(one, level, level)
        return await in_flight(one, level, count)


async def post(url: str, level: int, count: int) -> Measured:
    from judges.client.http import Transport

    body = payload()
    headers = {"content-type": "application/json", "authorization": "Bearer none"}
    async with Transport() as ours:

        async def one() -> None:
            content = json.dumps(body).encode()
            to = f"{url}/chat/completions"
            reply = await ours.post(to, headers=headers, body=content, timeout_s=600)
            json.loads(json.loads(reply.body)["choices"][0]["message"]["content"])

        await in_flight(one, level, level)
        return await in_flight(one, level, count)


async def openai(url: str, level: int, count: int) -> Measured:
    import openai

    body = payload()
    async with openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, timeout=600
    ) as client:

        async def one() -> None:
            completion = await client.chat.completions.create(**body)
            json.loads(completion.choices[0].message.content)

        await in_flight(one, level, level)
        return await in_flight(one, level, count)


async def httpx(url: str, level: int, count: int) -> Measured:
    import httpx

    body = payload()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=600.0) as client:

        async def one() -> None:
            response = await client.post(f"{url}/chat/completions", json=body)
            json.loads(response.json()["choices"][0]["message"]["content"])

        return await in_flight(one, level, count)  # its freeze is no matter of warming up


ARMS = {
    "ours": ours,
    "aiohttp": aiohttp,
    "transport": transport,
    "post": post,
    "openai": openai,
    "httpx": httpx,
}
PARTS = ("ours", "transport", "post")
"""They need nothing that the project does not."""


def measure(arm: str, url: str, level: int) -> Measured:
    command = [sys.executable, "-m", "experiments.bench.judge_client", "--arm", arm, "--url", url]
    result = subprocess.run(
        [*command, "--in-flight", str(level)], stdout=subprocess.PIPE, check=True, text=True
    )
    cpu, wall, lost = json.loads(result.stdout.splitlines()[-1])
    return cpu, wall, lost


def compare(
    url: str, levels: Sequence[int] = LEVELS, rounds: Mapping[str, int] = ROUNDS
) -> dict[str, object]:
    arms = [arm for arm in rounds if arm in PARTS or find_spec(arm)]
    us: dict[tuple[str, int], list[float]] = {}
    per_s: dict[tuple[str, int], list[float]] = {}
    lost = 0
    for level in levels:
        for turn in range(max(rounds.values())):
            for arm in (arm for arm in arms if turn < rounds[arm]):
                count = requests_measured(arm, level)
                cpu, wall, lost_here = measure(arm, url, level)
                us.setdefault((arm, level), []).append(cpu / count * 1e6)
                per_s.setdefault((arm, level), []).append(count / wall)
                lost += lost_here
        for arm in arms:
            cost = statistics.median(us[arm, level])
            rate = statistics.median(per_s[arm, level])
            times = cost / statistics.median(us["aiohttp", level])
            figures = f"{cost:7.0f} us, {times:5.2f} x aiohttp  {rate:6.0f}/s"
            print(f"{level:5} in flight  {arm:9} {figures}", flush=True)
    for arm in rounds.keys() - set(arms):
        print(f"{arm} is not installed, so its column is null.")

    def row(arm: str) -> dict[str, float] | None:
        if arm not in arms:
            return None
        return {str(level): round(statistics.median(us[arm, level]), 1) for level in levels}

    result: dict[str, object] = {f"{arm}_us": row(arm) for arm in ARMS}
    most = levels[-1]
    result[f"rps_{most}"] = round(statistics.median(per_s["ours", most]))
    result[f"aiohttp_rps_{most}"] = round(statistics.median(per_s["aiohttp", most]))
    result["lost"] = lost
    return result


def pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


@contextmanager
def stub() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.bench.stub_server", "--with-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: pin(1),
    )
    try:
        yield process.stdout.readline().split()[1]
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arm", choices=ARMS, help="measure only this one, here")
    parser.add_argument("--url", help="of a stub that runs already")
    parser.add_argument("--in-flight", type=int, default=256)
    args = parser.parse_args()
    if args.arm:
        pin(0)
        count = requests_measured(args.arm, args.in_flight)
        print(json.dumps(asyncio.run(ARMS[args.arm](args.url, args.in_flight, count))))
        return
    with stub() as url:
        result = compare(url)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
