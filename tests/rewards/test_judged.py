"""From token ids to a reward, by the embedded judge and by one that records what it is shown."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerFast

from judges import FaultCause, JudgeConfig, JudgeFault, JudgeRequest, Scored, Verdict, make_judge
from rewards import JudgedReward, Reward, RewardConfig, Sample

SAME = Scored(tier="same", score=2.0, rationale="It is the same drug.", latency_s=0.25)
OUTAGE = JudgeFault(cause=FaultCause.TIMEOUT, detail="no reply within 5 s", latency_s=5.0)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_with: Callable[..., PreTrainedTokenizerFast]) -> PreTrainedTokenizerFast:
    return tokenizer_with("special", "think")


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RecordingJudge:
    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.requests: list[JudgeRequest] = []

    async def score_one(self, request: JudgeRequest) -> Verdict:
        self.requests.append(request)
        return self.verdict


def sample(
    tokenizer: PreTrainedTokenizerFast, completion: str, finish_reason: str = "stop"
) -> Sample:
    return Sample(
        question="What treats type 2 diabetes first?",
        truth="metformin",
        aliases=("Glucophage",),
        prompt_ids=tokenizer.encode("<|im_start|>assistant\n<think>\n"),
        completion_ids=tokenizer.encode(completion),
        finish_reason=finish_reason,
    )


@pytest.fixture
def reward(tokenizer: PreTrainedTokenizerFast) -> Callable[..., Reward]:
    def run(
        judge: RecordingJudge, completion: str, finish_reason: str = "stop", floor: float = -1.0
    ) -> Reward:
        judged = JudgedReward(judge, RewardConfig(floor=floor), tokenizer)
        return asyncio.run(judged(sample(tokenizer, completion, finish_reason)))

    return run


def test_the_judge_sees_the_answer_and_its_score_is_the_reward(reward: Callable[..., Reward]):
    judge = RecordingJudge(SAME)
    got = reward(judge, "A biguanide.</think>\n\nMetformin</think><|im_end|>")
    assert judge.requests == [
        JudgeRequest(
            question="What treats type 2 diabetes first?",
            truth="metformin",
            answer="Metformin</think>",
            aliases=("Glucophage",),
            lang="en",
        )
    ]
    assert got == Reward(
        value=2.0,
        tier="same",
        cause=None,
        answer="Metformin</think>",
        reasoning="A biguanide.",
        rationale="It is the same drug.",
        status="ok",
        judge_latency_s=0.25,
        later_tags=1,
    )


@pytest.mark.parametrize(
    ("completion", "finish_reason", "tier"),
    [
        ("A biguanide", "stop", "unclosed"),
        ("A biguanide", "length", "unclosed"),
        ("A biguanide</think>Metf", "length", "truncated"),
        ("A biguanide</think><|im_end|>", "stop", "empty"),
        ("A biguanide</think>.<|im_end|>", "stop", "empty"),
    ],
)
def test_a_fault_of_the_policy_scores_the_floor_and_costs_no_call(
    reward: Callable[..., Reward], completion: str, finish_reason: str, tier: str
):
    judge = RecordingJudge(SAME)
    got = reward(judge, completion, finish_reason, floor=-1.5)
    assert (got.value, got.tier, got.cause, got.judge_latency_s) == (-1.5, tier, None, None)
    assert judge.requests == []


def test_a_fault_of_the_judge_is_no_score(reward: Callable[..., Reward]):
    got = reward(RecordingJudge(OUTAGE), "A biguanide.</think>Metformin")
    assert (got.value, got.tier, got.cause) == (None, "fault", "timeout")
    assert (got.rationale, got.judge_latency_s) == ("no reply within 5 s", 5.0)
    assert got.answer == "Metformin"


def test_samples_are_judged_side_by_side(tokenizer: PreTrainedTokenizerFast):
    waiting = 0
    most = 0

    class SlowJudge:
        async def score_one(self, request: JudgeRequest) -> Verdict:
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            await asyncio.sleep(0.01)
            waiting -= 1
            return SAME

    async def judge_all() -> list[Reward]:
        judged = JudgedReward(SlowJudge(), RewardConfig(), tokenizer)
        one = sample(tokenizer, "</think>Metformin")
        return await asyncio.gather(*(judged(one) for _ in range(8)))

    assert [one.tier for one in asyncio.run(judge_all())] == ["same"] * 8
    assert most == 8


def test_the_embedded_judge_gives_each_kind_of_answer_its_tier(tokenizer: PreTrainedTokenizerFast):
    completions = ["</think>Glucophage", "</think>the the of of of the the", "</think>", "Hm"]

    async def judge_all() -> list[Reward]:
        async with make_judge(JudgeConfig()) as judge:
            judged = JudgedReward(judge, RewardConfig(), tokenizer)
            return [await judged(sample(tokenizer, completion)) for completion in completions]

    rewards = asyncio.run(judge_all())
    assert [(one.tier, one.value) for one in rewards] == [
        ("same", 2.0),
        ("incoherent", -1.0),
        ("empty", -1.0),
        ("unclosed", -1.0),
    ]
    assert [one.judge_latency_s is None for one in rewards] == [False, False, True, True]


def test_a_judge_that_nobody_reaches_gives_no_score(
    tokenizer: PreTrainedTokenizerFast, unused_port: int
):
    config = JudgeConfig(
        backend="custom", model="any", url=f"http://127.0.0.1:{unused_port}/v1", retries=0
    )

    async def judge_one() -> Reward:
        async with make_judge(config) as judge:
            one = sample(tokenizer, "</think>Metformin")
            return await JudgedReward(judge, RewardConfig(), tokenizer)(one)

    reward = asyncio.run(judge_one())
    assert (reward.value, reward.tier, reward.cause) == (None, "fault", "connect")
