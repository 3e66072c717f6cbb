"""What a run sees of its judge: panels, samples, fallback, the ledger, budgets."""

import asyncio
import json
from dataclasses import replace

import pytest

from judges import (
    FaultCause,
    JudgeConfig,
    JudgeFault,
    JudgeRequest,
    Scored,
    make_judge,
)
from judges.client.budget import BudgetExceeded
from judges.rubric.prompt import read_user_message
from judges.verdict import OUTAGES

REQUEST = JudgeRequest(question="Lack of which vitamin?", truth="Vitamin C", answer="Vitamin C")
CUSTOM = JudgeConfig(backend="custom", model="m", retries=0)
DEAD = "custom:m@http://127.0.0.1:9/v1"


def verdict_of(tier):
    return json.dumps({"rationale": "Because.", "tier": tier})


def requests(count):
    return [replace(REQUEST, question=f"Question {i}?") for i in range(count)]


@pytest.fixture
def says(scripted_judge, chat_completion):
    def judge_that_says(*tiers):
        left = list(tiers)

        def answer(body):
            tier = left.pop(0) if len(left) > 1 else left[0]
            return (200, chat_completion(verdict_of(tier))) if tier else (500, {"error": "down"})

        return scripted_judge(answer)

    return judge_that_says


def test_a_panel_votes_and_its_disagreement_is_counted(says):
    async def go():
        async with says("same") as one, says("same") as two, says("contradicts") as three:
            panel = tuple(f"custom:m{i}@{server.url}" for i, server in enumerate((two, three)))
            config = replace(CUSTOM, url=one.url, panel=panel, vote="majority")
            async with make_judge(config) as judge:
                return await judge.score(requests(2)), judge.stats()

    verdicts, stats = asyncio.run(go())
    assert [(verdict.tier, verdict.score) for verdict in verdicts] == [("same", 2.0)] * 2
    assert verdicts[0].rationale.startswith("2 same, 1 contradicts")
    assert (stats.disagreements, stats.calls) == (2, 6)


def test_a_panel_goes_on_without_a_dead_member_and_not_without_two(says):
    async def go(panel):
        async with says("same") as one, says("reasonable") as two:
            members = tuple(entry or f"custom:n@{two.url}" for entry in panel)
            config = replace(CUSTOM, url=one.url, panel=members, deadline_s=5)
            async with make_judge(config) as judge:
                return await judge.score_one(REQUEST)

    verdict = asyncio.run(go((None, DEAD)))
    assert (verdict.tier, verdict.score) == ("reasonable", 1.25)
    assert asyncio.run(go((DEAD, DEAD + "/"))).cause in OUTAGES


def test_samples_differ_in_seed_and_the_tier_most_of_them_name_wins(says):
    async def go():
        async with (
            says("same", "off_domain", "same") as server,
            make_judge(replace(CUSTOM, url=server.url, samples=3)) as judge,
        ):
            return await judge.score_one(REQUEST), server.asked

    verdict, asked = asyncio.run(go())
    assert verdict.tier == "same"
    assert sorted(body["seed"] for body in asked) == [0, 1, 2]
    assert {body["temperature"] for body in asked} == {0.7}


def test_the_next_judge_is_asked_while_one_is_down_and_not_when_it_errs(says, chat_completion):
    async def go(first_reply):
        async with says(first_reply) as first, says("reasonable") as second:
            config = replace(CUSTOM, url=first.url, fallback=(f"custom:n@{second.url}",))
            async with make_judge(config) as judge:
                return await judge.score_one(REQUEST), len(second.asked)

    verdict, asked = asyncio.run(go(None))
    assert (verdict.tier, asked) == ("reasonable", 1)
    verdict, asked = asyncio.run(go("excellent"))
    assert (verdict.cause, asked) == (FaultCause.UNKNOWN_TIER, 0)


def test_a_chain_that_is_all_down_is_a_named_outage():
    config = replace(CUSTOM, url="http://127.0.0.1:9/v1", fallback=(DEAD,), deadline_s=5)

    async def go():
        async with make_judge(config) as judge:
            return await judge.score_one(REQUEST)

    assert asyncio.run(go()).cause in OUTAGES


def test_nothing_is_paid_for_twice_after_a_resume(says, tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")

    async def go():
        async with says("same") as server:
            config = replace(CUSTOM, url=server.url, ledger=ledger)
            async with make_judge(config) as judge:
                first = await judge.score(requests(4))
            async with make_judge(config) as judge:
                again, stats = await judge.score(requests(4)), judge.stats()
            async with make_judge(replace(config, temperature=0.5)) as judge:
                other = await judge.score(requests(1))
            return first, again, stats, other, len(server.asked)

    first, again, stats, other, asked = asyncio.run(go())
    assert [verdict.tier for verdict in again] == [verdict.tier for verdict in first]
    assert [verdict.cached for verdict in (*first, *again, *other)] == [False] * 4 + [True] * 4 + [
        False
    ]
    assert (stats.cached, stats.calls, stats.usage.tokens) == (4, 0, 0)
    assert asked == 5


def test_a_fault_is_asked_again_and_not_cached(says, tmp_path):
    async def go():
        async with says("excellent", "same") as server:
            config = replace(CUSTOM, url=server.url, ledger=str(tmp_path / "ledger.sqlite"))
            async with make_judge(config) as judge:
                return [await judge.score_one(REQUEST) for _ in range(2)]

    first, second = asyncio.run(go())
    assert first.cause is FaultCause.UNKNOWN_TIER
    assert second.tier == "same"


def test_equal_requests_in_flight_are_asked_once(says):
    async def go():
        async with (
            says("same") as server,
            make_judge(replace(CUSTOM, url=server.url)) as judge,
        ):
            return await judge.score([REQUEST] * 8), len(server.asked), judge.stats()

    verdicts, asked, stats = asyncio.run(go())
    assert [verdict.tier for verdict in verdicts] == ["same"] * 8
    assert asked == 1
    assert stats.usage.tokens == 110


def test_replay_answers_from_the_ledger_alone(says, tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")

    async def record():
        async with says("reasonable") as server:
            config = replace(CUSTOM, url=server.url, ledger=ledger)
            async with make_judge(config) as judge:
                await judge.score(requests(2))

    async def replay(**changes):
        config = replace(JudgeConfig(backend="replay", ledger=ledger), **changes)
        async with make_judge(config) as judge:
            return await judge.score(requests(3))

    asyncio.run(record())
    *known, unknown = asyncio.run(replay())
    assert [(verdict.tier, verdict.cached) for verdict in known] == [("reasonable", True)] * 2
    assert unknown.cause is FaultCause.NOT_RECORDED
    with pytest.raises(ValueError, match="none was asked with this rubric"):
        asyncio.run(replay(rubric="facts_en"))


def test_a_commitment_is_asked_once_a_question_and_shown_with_every_answer(
    scripted_judge, chat_completion
):
    def answer(body):
        if read_user_message(body["messages"][1]["content"]).answer is None:
            return 200, chat_completion('{"claims": ["It names vitamin C."]}')
        return 200, chat_completion(verdict_of("same"))

    async def go():
        async with scripted_judge(answer) as server:
            config = replace(CUSTOM, url=server.url, commit_first=True)
            async with make_judge(config) as judge:
                group = [replace(REQUEST, answer=f"Answer {i}") for i in range(4)]
                return await judge.score(group), server.asked

    verdicts, asked = asyncio.run(go())
    assert all(isinstance(verdict, Scored) for verdict in verdicts)
    commitments = [body for body in asked if "It names" not in body["messages"][1]["content"]]
    assert (len(commitments), len(asked)) == (1, 5)
    assert "claims" in commitments[0]["response_format"]["json_schema"]["schema"]["properties"]


def test_a_failed_commitment_is_a_fault_for_the_group_and_tried_again_later(
    scripted_judge, chat_completion
):
    replies = ["no claims", '{"claims": ["x"]}']

    def answer(body):
        committing = read_user_message(body["messages"][1]["content"]).answer is None
        return 200, chat_completion(replies.pop(0) if committing else verdict_of("same"))

    async def go():
        async with scripted_judge(answer) as server:
            config = replace(CUSTOM, url=server.url, commit_first=True)
            async with make_judge(config) as judge:
                group = [replace(REQUEST, answer=f"Answer {i}") for i in range(3)]
                return await judge.score(group), await judge.score(group)

    first, second = asyncio.run(go())
    assert {verdict.cause for verdict in first} == {FaultCause.NO_VERDICT}
    assert {verdict.tier for verdict in second} == {"same"}


def test_a_budget_stops_before_it_is_exceeded(says):
    async def go():
        async with (
            says("same") as server,
            make_judge(replace(CUSTOM, url=server.url, max_calls=3)) as judge,
        ):
            first = await judge.score(requests(3))
            with pytest.raises(BudgetExceeded, match=r"judge\.max_calls is 3"):
                await judge.score_one(replace(REQUEST, question="One more?"))
            return first, len(server.asked)

    verdicts, asked = asyncio.run(go())
    assert all(isinstance(verdict, Scored) for verdict in verdicts)
    assert asked == 3


def test_what_is_missing_at_the_deadline_is_a_fault_and_the_rest_is_kept(says):
    async def go():
        async with says("same") as server:
            config = replace(CUSTOM, url=server.url, deadline_s=0.5)
            async with make_judge(config) as judge:
                before = await judge.score(requests(2))
            dead = replace(config, url="http://127.0.0.1:9/v1", retries=50)
            async with make_judge(dead) as judge:
                return before, await judge.score(requests(2))

    before, late = asyncio.run(go())
    assert all(isinstance(verdict, Scored) for verdict in before)
    assert all(isinstance(verdict, JudgeFault) for verdict in late)


def test_a_dead_judge_is_waited_for_and_both_ends_are_told(says, tmp_path):
    told = []

    async def go():
        async with says("same", None, "same") as server:
            config = replace(CUSTOM, url=server.url, ledger=str(tmp_path / "ledger.sqlite"))
            async with make_judge(config) as judge:
                await wait(judge)  # alive, and its answer is in the ledger
                assert told == []
                await wait(judge)
                return judge.stats()

    async def wait(judge):
        await judge.wait_until_alive(
            on_pause=lambda: told.append("paused"),
            on_resume=lambda s: told.append("resumed"),
            every_s=0.05,
        )

    stats = asyncio.run(go())
    assert told == ["paused", "resumed"]
    assert stats.requests == 0  # its probes are not the run's requests
