"""What a call costs, at most: nothing that may be billed is forgotten, whatever breaks."""

import asyncio
import json
import sqlite3
from dataclasses import replace

import pytest

from judges import FaultCause, JudgeConfig, JudgeRequest, Scored, make_judge
from judges.client.backends import ROWS
from judges.client.ledger import Ledger
from judges.verdict import OUTAGES

REQUEST = JudgeRequest(question="Lack of which vitamin?", truth="Vitamin C", answer="Vitamin C")
CUSTOM = JudgeConfig(backend="custom", model="m", retries=0)
SAME = json.dumps({"rationale": "Because.", "tier": "same"})
KEYS = [row.key_env for row in ROWS.values() if row.key_env]


async def spent_in(ledger):
    async with Ledger(ledger) as reopened:
        return reopened.spent()


@pytest.mark.parametrize(
    "other",
    [
        {"backend": "openai", "model": "gpt-5-pro"},
        {"backend": "openrouter", "model": "anthropic/claude-opus-4.5"},
        {"backend": "custom", "model": "m", "url": "https://paid.example/v1"},
        {"backend": "vllm", "model": "m", "url": "https://paid.example/v1"},
        {"backend": "openai", "model": "gpt-5-pro", "usd_per_m_in": 15.0},
        {"fallback": ("openai:gpt-5-pro",)},
        {"panel": ("custom:m@https://paid.example/v1",)},
    ],
)
def test_a_limit_on_money_wants_to_know_every_price(other, monkeypatch):
    for key in KEYS:
        monkeypatch.setenv(key, "sk-1")
    make_judge(JudgeConfig(**other))
    with pytest.raises(ValueError, match=r"judge\.max_usd is 5\.0.*judge\.usd_per_m_in"):
        make_judge(JudgeConfig(**other, max_usd=5.0))


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"backend": "openai"},
        {"backend": "openai", "model": "gpt-4.1-mini", "url": "https://api.openai.com/v1"},
        {"backend": "openai", "model": "gpt-5-pro", "usd_per_m_in": 15.0, "usd_per_m_out": 120.0},
        {"backend": "vllm", "model": "m"},
        {"backend": "ollama", "model": "m", "fallback": ("deepseek",)},
    ],
)
def test_a_limit_on_money_takes_a_rows_own_price_and_one_that_was_given(known, monkeypatch):
    for key in KEYS:
        monkeypatch.setenv(key, "sk-1")
    make_judge(JudgeConfig(**known, max_usd=5.0))


def test_a_host_that_refuses_connections_spends_no_calls(tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")

    async def go():
        config = replace(CUSTOM, url="http://127.0.0.1:9/v1", max_calls=2, ledger=ledger)
        async with make_judge(config) as judge:
            verdicts = [await judge.score_one(REQUEST) for _ in range(5)]
        return verdicts, await spent_in(ledger)

    verdicts, spent = asyncio.run(go())
    assert {verdict.cause for verdict in verdicts} <= OUTAGES
    assert (spent.calls, spent.tokens) == (0, 0)


def test_what_timed_out_before_a_refusal_stays_on_the_bill(
    scripted_judge, chat_completion, tmp_path
):
    """The first attempt is cut off, its retry refuses the schema, the third one is answered."""
    ledger = str(tmp_path / "ledger.sqlite")
    refusal = {"error": {"message": "response_format json_schema is not supported"}}

    class SlowOnce(scripted_judge):
        async def _handle(self, request):
            if not self.asked:
                self.asked.append(None)
                await asyncio.sleep(1)
            return await super()._handle(request)

    def answer(body):
        refused = body["response_format"]["type"] == "json_schema"
        return (400, refusal) if refused else (200, chat_completion(SAME))

    async def go():
        async with SlowOnce(answer) as server:
            config = replace(CUSTOM, url=server.url, timeout_s=0.3, retries=1, ledger=ledger)
            async with make_judge(config) as judge:
                assert isinstance(await judge.score_one(REQUEST), Scored)
        return await spent_in(ledger)

    spent = asyncio.run(go())
    assert spent.calls == 3
    assert spent.tokens > 110 + CUSTOM.max_reply_tokens


@pytest.mark.parametrize("status", [504, 524])
def test_a_gateway_that_gave_up_may_have_been_billed(scripted_judge, tmp_path, status):
    ledger = str(tmp_path / "ledger.sqlite")

    async def go():
        async with (
            scripted_judge(lambda body: (status, "gateway")) as server,
            make_judge(replace(CUSTOM, url=server.url, ledger=ledger)) as judge,
        ):
            await judge.score_one(REQUEST)
        return await spent_in(ledger)

    spent = asyncio.run(go())
    assert spent.calls == 1
    assert spent.tokens > CUSTOM.max_reply_tokens


def test_what_was_killed_before_a_resume_is_still_on_the_bill_after_it(
    scripted_judge, chat_completion, tmp_path
):
    """A key that is asked again and answered says nothing of the attempt that was killed."""
    ledger = str(tmp_path / "ledger.sqlite")

    async def go():
        async with scripted_judge(lambda body: (200, chat_completion(SAME))) as server:
            config = replace(CUSTOM, url=server.url, ledger=ledger)
            async with make_judge(config) as judge:
                await judge.score_one(REQUEST)
            with sqlite3.connect(ledger) as db:
                db.execute("DELETE FROM events WHERE kind != 'asked'")  # as if killed in between
            killed = await spent_in(ledger)
            async with make_judge(config) as judge:
                await judge.score_one(REQUEST)
            return killed, await spent_in(ledger)

    killed, resumed = asyncio.run(go())
    assert killed.tokens > CUSTOM.max_reply_tokens
    assert resumed.tokens == killed.tokens + 110


def test_a_recorded_reply_that_cannot_be_read_any_more_is_asked_again(
    scripted_judge, chat_completion, tmp_path
):
    ledger = str(tmp_path / "ledger.sqlite")

    async def go():
        async with scripted_judge(lambda body: (200, chat_completion(SAME))) as server:
            config = replace(CUSTOM, url=server.url, ledger=ledger)
            for reply in (chat_completion("Grade: as the old parser had it"), "not of the format"):
                async with make_judge(config) as judge:
                    await judge.score_one(REQUEST)
                with sqlite3.connect(ledger) as db:
                    db.execute("UPDATE events SET reply = ?", (json.dumps(reply),))
            async with make_judge(config) as judge:
                verdicts = [await judge.score_one(REQUEST) for _ in range(2)]
            replay = JudgeConfig(backend="replay", ledger=ledger)
            async with make_judge(replay) as judge:
                return verdicts, len(server.asked), await judge.score_one(REQUEST)

    verdicts, asked, replayed = asyncio.run(go())
    assert [(verdict.tier, verdict.cached) for verdict in verdicts] == [
        ("same", False),
        ("same", True),
    ]
    assert asked == 3
    assert replayed.tier == "same"


def test_a_replay_of_what_cannot_be_read_names_the_fault(scripted_judge, chat_completion, tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")

    async def go():
        async with (
            scripted_judge(lambda body: (200, chat_completion(SAME))) as server,
            make_judge(replace(CUSTOM, url=server.url, ledger=ledger)) as judge,
        ):
            await judge.score_one(REQUEST)
        with sqlite3.connect(ledger) as db:
            db.execute("UPDATE events SET reply = ?", (json.dumps(chat_completion("Hm.")),))
        async with make_judge(JudgeConfig(backend="replay", ledger=ledger)) as judge:
            return await judge.score_one(REQUEST)

    assert asyncio.run(go()).cause is FaultCause.NO_VERDICT
