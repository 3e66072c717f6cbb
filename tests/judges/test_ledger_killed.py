"""A run that is killed with no warning: its ledger, held against what the judge counted."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from judges import JudgeConfig, JudgeRequest, Scored, make_judge
from judges.client.ledger import Ledger

pytestmark = pytest.mark.slow

REQUEST = JudgeRequest(question="Q?", truth="T", answer="A", aliases=("a", "b"))

RUN = """
    import asyncio, sys
    from judges import JudgeConfig, JudgeRequest, Scored, make_judge

    async def main(url, ledger, count):
        config = JudgeConfig(
            backend="custom", model="m", url=url, ledger=ledger, max_in_flight=8, deadline_s=60
        )
        async with make_judge(config) as judge:
            async def one(n):
                verdict = await judge.score_one(
                    JudgeRequest(question=f"Q{n}?", truth="T", answer="A")
                )
                assert isinstance(verdict, Scored), verdict
                print(n, flush=True)
            await asyncio.gather(*(one(n) for n in range(count)))

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
VERDICT = {"rationale": "The same.", "tier": "same"}
COMPLETION = {
    "choices": [{"message": {"content": json.dumps(VERDICT)}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
}


@pytest.fixture
def judge(scripted_judge):
    return scripted_judge(lambda _: (200, COMPLETION), latency_s=lambda: random.uniform(0.0, 0.1))


def paid_by(judge) -> list[str]:
    """The questions that it was asked, in order."""
    prompts = (body["messages"][1]["content"] for body in judge.asked)
    return [prompt.split("Q", 1)[1].split("?")[0] for prompt in prompts]


async def until_asked(judge, count: int) -> None:
    while len(judge.asked) < count:  # noqa: ASYNC110, a scripted judge tells nobody
        await asyncio.sleep(0.001)


async def start(judge, ledger: Path, count: int) -> asyncio.subprocess.Process:
    """A run in a process of its own, which prints each question that it has a verdict for."""
    root = Path(__file__).parents[2]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(RUN), judge.url, str(ledger), str(count)),
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


async def run_until(judge, ledger: Path, count: int, *, kill_after: int | None) -> int:
    """Killed with no warning after so many verdicts."""
    process = await start(judge, ledger, count)
    verdicts = 0
    while await process.stdout.readline():
        verdicts += 1
        if verdicts == kill_after:
            process.send_signal(signal.SIGKILL)
            break
    await process.wait()
    return verdicts


def in_ledger(path: Path, what: str) -> Counter[str]:
    """How often each question was asked, counting attempts that fulfil a condition."""
    sql = f"""
        SELECT json_extract(asked.request, '$.question') FROM events asked
        LEFT JOIN events ended ON ended.attempt = asked.attempt AND ended.kind != 'asked'
        WHERE asked.kind = 'asked' AND {what}
    """
    with sqlite3.connect(path) as db:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone():
            return Counter()  # killed before it had begun
        return Counter(question[1:-1] for (question,) in db.execute(sql))


SCORED = "ended.kind = 'scored'"
LEFT_OPEN = "ended.kind IS NULL"


async def run_and_kill(judge, path: Path, count: int, draw: random.Random, share: float):
    """Killed once the judge has seen some of what is missing, and a moment later."""
    known = in_ledger(path, SCORED)
    seen = len(judge.asked)
    process = await start(judge, path, count)
    until = seen + draw.randint(0, max(int((count - known.total()) * share), 1))
    moment = asyncio.ensure_future(until_asked(judge, until))
    ended = asyncio.ensure_future(process.wait())
    await asyncio.wait({moment, ended}, return_when=asyncio.FIRST_COMPLETED)
    moment.cancel()
    await asyncio.sleep(draw.uniform(0.0, 0.12))
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    handed_out = (await process.stdout.read()).decode().split()
    await process.wait()
    assert not known.keys() & set(paid_by(judge)[seen:]), "asked again what was answered"
    assert set(handed_out) <= in_ledger(path, SCORED).keys(), "handed out and not kept"


async def killed_and_resumed(
    judge, path: Path, *, count: int, kills: int, seed: int
) -> tuple[int, int]:
    """Attempts in all, and those left open by a kill."""
    draw = random.Random(seed)
    async with judge:
        for left in range(kills, 0, -1):
            await run_and_kill(judge, path, count, draw, 2 / (left + 1))
        assert await run_until(judge, path, count, kill_after=None) == count
        paid, attempts = Counter(paid_by(judge)), in_ledger(path, "TRUE")
        left_open = in_ledger(path, LEFT_OPEN)
        scored = in_ledger(path, SCORED)
        assert scored == Counter({str(n): 1 for n in range(count)})
        # A kill may come between the row and the request: then the judge has not seen it.
        assert paid <= attempts
        assert attempts - paid <= left_open
        assert attempts == scored + left_open
        async with Ledger(path) as ledger:
            spent = ledger.spent()
        assert spent.calls == attempts.total()
        with sqlite3.connect(path) as db:
            (worst,) = db.execute(
                "SELECT max(input_tokens + output_tokens) FROM events WHERE kind = 'asked'"
            ).fetchone()
        bills = 15 * count
        assert bills <= 15 * len(judge.asked) <= spent.tokens <= bills + worst * left_open.total()
        return attempts.total(), left_open.total()


def test_a_run_killed_at_any_moment_pays_for_nothing_twice_and_loses_nothing(judge, tmp_path):
    path = tmp_path / "ledger.sqlite"
    attempts, left_open = asyncio.run(killed_and_resumed(judge, path, count=200, kills=5, seed=0))
    assert attempts == 200 + left_open
    assert left_open <= 5 * 8  # as many as were in flight


@pytest.mark.parametrize("kill_after", [1, 13])
def test_after_kill_9_no_verdict_is_paid_for_twice_and_the_rest_is_known(
    judge, tmp_path, kill_after
):
    async def run():
        path = tmp_path / "ledger.sqlite"
        async with judge:
            await run_until(judge, path, 40, kill_after=kill_after)
            paid_before = paid_by(judge)
            async with Ledger(path) as ledger:
                asked, closed = ledger._reader.execute(
                    "SELECT total(kind = 'asked'), total(kind != 'asked') FROM events"
                ).fetchone()
                left_open = asked - closed
                stored = ledger._reader.execute(
                    "SELECT count(*) FROM events WHERE kind = 'scored'"
                ).fetchone()[0]
            # Whatever reached the judge was written down before, and nothing handed out is lost.
            assert stored >= kill_after
            assert len(paid_before) <= stored + left_open
            assert left_open <= 8
            assert await run_until(judge, path, 40, kill_after=None) == 40
            paid = len(judge.asked)
            assert len(set(paid_by(judge))) == 40
            assert paid - 40 <= left_open
            assert paid - len(paid_before) == 40 - stored
            assert await run_until(judge, path, 40, kill_after=None) == 40
            assert len(judge.asked) == paid

    asyncio.run(run())


def test_no_key_and_no_header_is_in_the_file(judge, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_JUDGE_KEY", "sk-very-secret")

    async def run():
        async with judge:
            config = JudgeConfig(
                backend="custom",
                model="m",
                url=judge.url.replace("//", "//user:sk-very-secret@"),
                key_env="MY_JUDGE_KEY",
                ledger=str(tmp_path / "l.sqlite"),
            )
            async with make_judge(config) as client:
                (verdict,) = await client.score([replace(REQUEST, question="Q1?")])
                assert isinstance(verdict, Scored)
                for file in tmp_path.iterdir():  # with what is still in the write-ahead log
                    content = file.read_bytes()
                    assert b"sk-very-secret" not in content
                    assert b"uthorization" not in content

    asyncio.run(run())
