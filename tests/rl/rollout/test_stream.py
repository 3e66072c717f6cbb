"""Judging while sampling, with the real judge client against the real embedded judge."""

import asyncio
import re
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from itertools import repeat
from typing import ClassVar

import pytest

from judges import JudgeConfig, make_judge
from judges.client.budget import BudgetExceeded
from judges.verdict import OUTAGES
from rewards import JudgedReward, RewardConfig
from rewards.tiers import Reward
from rl.data.rows import Prompt, Row
from rl.rollout.engine import Completion, Sampling
from rl.rollout.stream import fault_share, judged_through_outages, sample_and_judge

SAMPLING = Sampling(max_new_tokens=8, temperature=1.0, seed=0)
ANSWERS = ["Heart", "Liver", "Heart", "no idea at all"]


class LetterTokenizer:
    """A token is a character, so that a test can read what it writes."""

    all_special_ids: ClassVar[list[int]] = []

    def decode(self, ids, **_):
        return "".join(map(chr, ids))

    def convert_tokens_to_ids(self, tokens):
        return None

    unk_token_id = None


class ReversedEngine:
    """Finishes the last prompt first."""

    async def publish(self, policy, version):
        pass

    async def stream(self, prompts, sampling):
        for i in reversed(range(len(prompts))):
            await asyncio.sleep(0)
            yield Completion(
                prompt=i,
                token_ids=[ord(letter) for letter in ANSWERS[i]],
                logprobs=[-1.0] * len(ANSWERS[i]),
                finish_reason="stop",
            )


PROMPTS = [
    Prompt(row=Row(id=str(i), question="Which organ pumps blood?", answer="Heart"), token_ids=[65])
    for i in range(len(ANSWERS))
]


async def sampled(judge):
    reward = JudgedReward(judge, RewardConfig(family="think"), LetterTokenizer())
    return await sample_and_judge(ReversedEngine(), reward, LetterTokenizer(), PROMPTS, SAMPLING)


def test_rollouts_come_back_in_the_order_of_their_prompts_each_with_its_verdict():
    async def main():
        async with make_judge(JudgeConfig(backend="rules")) as judge:
            return await sampled(judge)

    batch = asyncio.run(main())
    assert [rollout.reward.answer for rollout in batch.rollouts] == ANSWERS
    assert [rollout.reward.value for rollout in batch.rollouts] == [2.0, 0.0, 2.0, 0.0]
    assert fault_share(batch.rollouts, OUTAGES) == 0.0


def test_a_spent_budget_waits_for_the_answers_that_are_paid_for(tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    config = JudgeConfig(backend="rules", max_calls=2, ledger=str(ledger))

    async def main():
        async with make_judge(config) as judge:
            with pytest.raises(BudgetExceeded):
                await sampled(judge)

    asyncio.run(main())
    with sqlite3.connect(ledger) as db:
        kinds = Counter(kind for (kind,) in db.execute("SELECT kind FROM events"))
    assert kinds == {"asked": 2, "scored": 2}


def serving(port):
    return subprocess.Popen(
        [sys.executable, "-m", "judges", "serve", "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_an_outage_left_without_a_verdict_is_judged_when_the_judge_is_back():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = JudgeConfig(
        backend="custom", url=f"http://127.0.0.1:{port}/v1", model="rules", retries=0
    )
    told: list[str] = []

    async def main():
        async with make_judge(config) as judge:
            lost = await sampled(judge)
            server = serving(port)
            try:
                assert server.stdout
                assert re.match("ready", server.stdout.readline())

                async def wait():
                    await judge.wait_until_alive(
                        on_pause=lambda: told.append("pause"),
                        on_resume=lambda _: told.append("resume"),
                    )

                reward = JudgedReward(judge, RewardConfig(family="think"), LetterTokenizer())
                return lost, await judged_through_outages(lost, reward, wait)
            finally:
                server.terminate()
                server.wait()

    lost, found = asyncio.run(main())
    assert fault_share(lost.rollouts, OUTAGES) == 1.0
    assert [rollout.reward.value for rollout in lost.rollouts] == [None] * 4
    assert [rollout.reward.value for rollout in found.rollouts] == [2.0, 0.0, 2.0, 0.0]
    assert [rollout.completion for rollout in found.rollouts] == [
        rollout.completion for rollout in lost.rollouts
    ]


def test_an_engine_that_fails_takes_its_judging_with_it():
    class Failing(ReversedEngine):
        async def stream(self, prompts, sampling):
            async for completion in ReversedEngine().stream(prompts[:2], sampling):
                yield completion
            raise RuntimeError("gone")

    async def main():
        async with make_judge(JudgeConfig(backend="rules")) as judge:
            reward = JudgedReward(judge, RewardConfig(family="think"), LetterTokenizer())
            with pytest.raises(RuntimeError, match="gone"):
                await sample_and_judge(Failing(), reward, LetterTokenizer(), PROMPTS, SAMPLING)
            await asyncio.sleep(0.01)
            return [task.get_coro().__name__ for task in asyncio.all_tasks() if not task.done()]

    assert "_judge" not in asyncio.run(main())


class Answers:
    """A reward that comes out as told for each answer: a value, or an outage."""

    def __init__(self, **values):
        self.values, self.asked = values, []

    async def __call__(self, sample):
        answer = "".join(map(chr, sample.completion_ids))
        self.asked.append(answer)
        value = next(self.values[answer])
        return Reward(
            value=value,
            tier="fault" if value is None else "same",
            cause="timeout" if value is None else None,
            answer=answer,
            reasoning="",
            rationale="",
            status="ok",
            judge_latency_s=0.1,
        )


def judged_by(reward):
    async def nobody_waits():
        pass

    async def main():
        batch = await sample_and_judge(
            ReversedEngine(), reward, LetterTokenizer(), PROMPTS, SAMPLING
        )
        return await judged_through_outages(batch, reward, nobody_waits)

    return [rollout.reward.value for rollout in asyncio.run(main()).rollouts]


def test_even_one_row_that_an_outage_left_out_is_asked_again():
    reward = Answers(Heart=repeat(2.0), Liver=iter([None, -0.5]), **{"no idea at all": repeat(0.0)})
    assert judged_by(reward) == [2.0, -0.5, 2.0, 0.0]
    assert Counter(reward.asked) == {"Heart": 2, "Liver": 2, "no idea at all": 1}


def test_a_row_that_no_judge_can_answer_in_time_does_not_hold_the_run_for_ever():
    reward = Answers(Heart=repeat(2.0), Liver=repeat(None), **{"no idea at all": repeat(0.0)})
    assert judged_by(reward) == [2.0, None, 2.0, 0.0]
    assert Counter(reward.asked)["Liver"] == 2
