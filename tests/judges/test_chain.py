"""Judges one after another: who answers for whom, who is waited for, and what counts as a call."""

import asyncio
import gc
import json
from dataclasses import replace

import pytest

from judges import FaultCause, JudgeConfig, JudgeRequest, make_judge
from judges.verdict import OUTAGES

REQUEST = JudgeRequest(question="Lack of which vitamin?", truth="Vitamin C", answer="Vitamin C")
CUSTOM = JudgeConfig(backend="custom", model="m", retries=0)
SAME = json.dumps({"rationale": "Because.", "tier": "same"})


@pytest.mark.parametrize(("status", "said"), [(402, "{}"), (429, '{"code": "insufficient_quota"}')])
def test_an_empty_account_is_an_outage_that_another_judge_can_fill(
    scripted_judge, chat_completion, status, said
):
    async def go():
        second = scripted_judge(lambda body: (200, chat_completion(SAME)))
        async with scripted_judge(lambda body: (status, said)) as one, second as two:
            alone = replace(CUSTOM, url=one.url)
            async with make_judge(alone) as judge:
                fault = await judge.score_one(REQUEST)
            async with make_judge(replace(alone, fallback=(f"custom:n@{two.url}",))) as judge:
                return fault, await judge.score_one(REQUEST), len(one.asked)

    fault, verdict, asked = asyncio.run(go())
    assert fault.cause in OUTAGES
    assert verdict.tier == "same"
    assert asked == 2  # no waiting fills an account


def test_what_a_fallback_answered_is_not_asked_of_the_first_after_a_resume(
    scripted_judge, chat_completion, tmp_path
):
    statuses = [500]

    async def go():
        first = scripted_judge(lambda body: (statuses[0], chat_completion(SAME)))
        reasonable = SAME.replace("same", "reasonable")
        second = scripted_judge(lambda body: (200, chat_completion(reasonable)))
        async with first as one, second as two:
            config = replace(
                CUSTOM,
                url=one.url,
                fallback=(f"custom:n@{two.url}",),
                ledger=str(tmp_path / "ledger.sqlite"),
            )
            verdicts = []
            for status in (500, 200):
                statuses[0] = status
                async with make_judge(config) as judge:
                    verdicts.append(await judge.score_one(REQUEST))
            return verdicts, len(one.asked), len(two.asked)

    (before, after), asked_first, asked_second = asyncio.run(go())
    assert (before.tier, after.tier, after.cached) == ("reasonable", "reasonable", True)
    assert (asked_first, asked_second) == (1, 1)


def test_a_commitment_that_came_too_late_for_one_is_waited_for_by_another(
    scripted_judge, chat_completion
):
    claims = json.dumps({"claims": ["It says vitamin C."]})

    def answer(body):
        commits = "claims" in json.dumps(body.get("response_format", ""))
        return 200, chat_completion(claims if commits else SAME)

    class Slow(scripted_judge):
        async def _handle(self, request):
            await asyncio.sleep(0.5)
            return await super()._handle(request)

    async def go():
        async with Slow(answer) as server:
            config = replace(CUSTOM, url=server.url, commit_first=True, deadline_s=30)
            async with make_judge(config) as judge:
                grader, now = judge._chains[0][0], asyncio.get_running_loop().time()
                return await asyncio.gather(
                    grader.grade(REQUEST, now + 0.2),
                    grader.grade(replace(REQUEST, answer="C"), now + 20),
                    return_exceptions=True,
                )

    late, scored = asyncio.run(go())
    assert late.cause is FaultCause.DEADLINE
    assert scored.tier == "same"


def test_one_who_waits_for_anothers_commitment_keeps_to_its_own_deadline(scripted_judge):
    class Silent(scripted_judge):
        async def _handle(self, request):
            await asyncio.sleep(60)

    async def go():
        async with Silent(None) as server:
            config = replace(CUSTOM, url=server.url, commit_first=True)
            async with make_judge(config) as judge:
                grader, now = judge._chains[0][0], asyncio.get_running_loop().time()
                patient = asyncio.ensure_future(grader.grade(REQUEST, now + 20))
                await asyncio.sleep(0.05)
                hasty = grader.grade(replace(REQUEST, answer="C"), now + 0.3)
                (fault,) = await asyncio.gather(hasty, return_exceptions=True)
                patient_waits_still = not patient.done()
                patient.cancel()
                return fault, patient_waits_still

    fault, patient_waits_still = asyncio.run(go())
    assert fault.cause is FaultCause.DEADLINE
    assert patient_waits_still


def test_commitments_leave_no_task_behind(scripted_judge, chat_completion):
    def answer(body):
        commits = "claims" in json.dumps(body.get("response_format", ""))
        return 200, chat_completion(json.dumps({"claims": ["Vitamin C."]}) if commits else SAME)

    async def go():
        async with scripted_judge(answer) as server:
            config = replace(CUSTOM, url=server.url, commit_first=True)
            async with make_judge(config) as judge:
                for number in range(40):
                    await judge.score_one(replace(REQUEST, question=f"{number}?"))
                gc.collect()
                tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
                return sum(task.done() for task in tasks)

    assert asyncio.run(go()) < 20


def test_calls_that_never_left_are_not_calls(scripted_judge, chat_completion):
    async def go():
        second = scripted_judge(lambda body: (200, chat_completion(SAME)))
        async with second as two:
            config = replace(
                CUSTOM, url="http://127.0.0.1:9/v1", fallback=(f"custom:n@{two.url}",), retries=0
            )
            async with make_judge(config) as judge:
                await judge.score([replace(REQUEST, question=f"{i}?") for i in range(200)])
                return judge.stats(), len(two.asked)

    stats, asked = asyncio.run(go())
    assert (stats.requests, asked) == (200, 200)
    assert 200 < stats.calls == stats.attempts < 400


def test_a_replay_can_be_told_which_of_two_servers(scripted_judge, chat_completion, tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")

    async def go():
        reasonable = SAME.replace("same", "reasonable")
        first = scripted_judge(lambda body: (200, chat_completion(SAME)))
        second = scripted_judge(lambda body: (200, chat_completion(reasonable)))
        async with first as one, second as two:
            for server in (one, two):
                async with make_judge(replace(CUSTOM, url=server.url, ledger=ledger)) as judge:
                    await judge.score_one(REQUEST)
        tiers = []
        for url in (one.url, two.url):
            config = JudgeConfig(backend="replay", model="m", url=url, ledger=ledger)
            async with make_judge(config) as judge:
                tiers.append((await judge.score_one(REQUEST)).tier)
        return tiers

    assert asyncio.run(go()) == ["same", "reasonable"]
