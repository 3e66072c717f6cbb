"""What a run keeps when its judge hangs, is down in part, costs too much or says its key aloud."""

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from judges import FaultCause, JudgeConfig, JudgeFault, JudgeRequest, Scored, make_judge
from judges.client.backends import ROWS, endpoint
from judges.client.budget import BudgetExceeded
from judges.client.features import Features
from judges.client.ledger import Ledger, fingerprint
from judges.client.wire import Ask, in_its_format
from judges.rubric.prompt import Prompt, read_user_message
from judges.verdict import OUTAGES

REQUEST = JudgeRequest(question="Lack of which vitamin?", truth="Vitamin C", answer="Vitamin C")
CUSTOM = JudgeConfig(backend="custom", model="m", retries=0)
SAME = json.dumps({"rationale": "Because.", "tier": "same"})
KEY = "sk-a-secret-that-nobody-may-see"


def requests(count):
    return [replace(REQUEST, question=f"Question {i}?") for i in range(count)]


def asked_of(server, config, *wanted, then=None):
    """Verdicts, and what `then` says of the judge afterwards."""

    async def go():
        async with server, make_judge(replace(config, url=server.url)) as judge:
            verdicts = await judge.score(wanted or [REQUEST])
            return verdicts, await then(judge) if then else judge.stats()

    return asyncio.run(go())


async def is_alive(judge):
    return await judge.is_alive()


@pytest.fixture
def silent():
    """A server that accepts connections and never answers."""

    class Silent:
        async def __aenter__(self):
            self._server = await asyncio.start_server(self._ignore, "127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
            return self

        async def __aexit__(self, *_):
            self._server.close()

        async def _ignore(self, reader, writer):
            while await reader.read(4096):
                pass
            writer.close()

    return Silent()


def test_a_judge_that_hangs_past_every_deadline_is_an_outage_and_not_alive(silent):
    config = replace(CUSTOM, timeout_s=30, deadline_s=0.4)
    verdicts, alive = asked_of(silent, config, then=is_alive)
    assert verdicts[0].cause is FaultCause.DEADLINE
    assert verdicts[0].cause in OUTAGES
    assert not alive


def test_a_judge_that_hangs_leaves_its_fallback_time_to_answer(
    silent, scripted_judge, chat_completion
):
    async def go():
        async with silent, scripted_judge(lambda body: (200, chat_completion(SAME))) as second:
            config = replace(
                CUSTOM,
                url=silent.url,
                fallback=(f"custom:n@{second.url}",),
                timeout_s=30,
                deadline_s=2,
            )
            async with make_judge(config) as judge:
                return await judge.score_one(REQUEST)

    assert asyncio.run(go()).tier == "same"


def test_a_panel_that_is_down_for_the_most_part_is_not_alive(scripted_judge, chat_completion):
    config = replace(CUSTOM, panel=("custom:n@http://127.0.0.1:9/v1",), deadline_s=2)
    server = scripted_judge(lambda body: (200, chat_completion(SAME)))
    verdicts, alive = asked_of(server, config, then=is_alive)
    assert verdicts[0].cause in OUTAGES
    assert not alive


def test_the_fallback_is_asked_when_too_few_samples_came(scripted_judge, chat_completion):
    def first(body):
        return (200, chat_completion(SAME)) if body["seed"] == 0 else (500, {"error": "busy"})

    async def go():
        reasonable = SAME.replace("same", "reasonable")
        second = scripted_judge(lambda body: (200, chat_completion(reasonable)))
        async with scripted_judge(first) as one, second as two:
            config = replace(CUSTOM, url=one.url, samples=3, fallback=(f"custom:n@{two.url}",))
            async with make_judge(config) as judge:
                return await judge.score_one(REQUEST)

    assert asyncio.run(go()).tier == "reasonable"


def test_what_two_judges_answered_is_replayed_in_the_same_order(
    scripted_judge, chat_completion, tmp_path
):
    ledger = str(tmp_path / "ledger.sqlite")

    def busy_with_the_second(body):
        asked = read_user_message(body["messages"][-1]["content"])
        if asked.question == "Question 1?":
            return 500, {"error": "busy"}
        return 200, chat_completion(SAME)

    async def go():
        second = scripted_judge(
            lambda body: (200, chat_completion(SAME.replace("same", "reasonable")))
        )
        async with scripted_judge(busy_with_the_second) as one, second as two:
            fallback = (f"custom:n@{two.url}",)
            config = replace(CUSTOM, url=one.url, fallback=fallback, ledger=ledger)
            async with make_judge(config) as judge:
                live = await judge.score(requests(2))
        replay = JudgeConfig(
            backend="replay", model="m", fallback=("replay:n",), ledger=ledger, retries=0
        )
        async with make_judge(replay) as judge:
            return live, await judge.score(requests(2))

    live, replayed = asyncio.run(go())
    assert [verdict.tier for verdict in live] == ["same", "reasonable"]
    assert [verdict.tier for verdict in replayed] == ["same", "reasonable"]


def test_a_panel_does_not_seat_one_judge_twice():
    config = replace(CUSTOM, url="http://127.0.0.1:9/v1", panel=("custom:m@http://127.0.0.1:9/v1",))
    with pytest.raises(ValueError, match=r"judge\.panel names custom:m@.* votes already"):
        make_judge(config)


def test_what_was_asked_before_the_budget_was_spent_is_answered_and_kept(
    scripted_judge, chat_completion, tmp_path
):
    ledger = str(tmp_path / "ledger.sqlite")
    config = replace(CUSTOM, max_calls=10, ledger=ledger)

    async def go():
        async with scripted_judge(lambda body: (200, chat_completion(SAME))) as server:
            own = replace(config, url=server.url)
            async with make_judge(own) as judge:
                with pytest.raises(BudgetExceeded):
                    await judge.score(requests(50))
            async with make_judge(own) as judge:
                return await judge.score(requests(10)), len(server.asked)

    verdicts, asked = asyncio.run(go())
    assert asked == 10
    assert all(isinstance(verdict, Scored) for verdict in verdicts)
    assert all(verdict.cached for verdict in verdicts)


def test_a_reply_without_a_bill_counts_at_its_worst(scripted_judge, chat_completion):
    def unbilled(body):
        return 200, {k: v for k, v in chat_completion(SAME).items() if k != "usage"}

    async def go():
        async with scripted_judge(unbilled) as server:
            async with make_judge(replace(CUSTOM, url=server.url, max_tokens=5000)) as judge:
                with pytest.raises(BudgetExceeded, match=r"judge\.max_tokens is 5000"):
                    await judge.score(requests(40))
            return len(server.asked)

    assert 1 <= asyncio.run(go()) < 5


def test_a_bill_that_never_came_is_still_counted_after_a_resume(silent, tmp_path):
    ledger = tmp_path / "ledger.sqlite"
    config = replace(CUSTOM, timeout_s=0.1, deadline_s=5, ledger=str(ledger))
    asked_of(silent, config, *requests(8))

    async def spent():
        async with Ledger(ledger) as reopened:
            return reopened.spent()

    found = asyncio.run(spent())
    assert found.calls == 8
    assert found.tokens > 8 * config.max_reply_tokens


def test_a_bill_covers_every_attempt(scripted_judge, chat_completion, tmp_path):
    """The first reply is cut off by its time; the second one has a bill of 110 tokens."""
    ledger = tmp_path / "ledger.sqlite"
    seen = []

    def first_late(body):
        seen.append(body)
        return 200, chat_completion(SAME)

    async def go():
        server = scripted_judge(first_late)
        answer_at_once = server._handle

        async def slow_once(request):
            if not seen:
                seen.append(None)
                await asyncio.sleep(0.5)
            return await answer_at_once(request)

        server._handle = slow_once
        async with server:
            config = replace(CUSTOM, url=server.url, timeout_s=0.2, retries=3, ledger=str(ledger))
            async with make_judge(config) as judge:
                assert isinstance(await judge.score_one(REQUEST), Scored)
        async with Ledger(ledger) as reopened:
            return reopened.spent()

    spent = asyncio.run(go())
    assert spent.calls == 2
    assert spent.tokens > 110 + CUSTOM.max_reply_tokens


def test_an_answer_may_be_a_token_a_byte():
    def tokens(answer):
        request = replace(REQUEST, answer=answer)
        prompt = Prompt(system="", user="")  # no more than the answer itself
        ask = Ask(key="", request=request, prompt=lambda _: prompt, schema={}, max_tokens=1)
        features = Features(form="json_schema", logprobs=False)
        return in_its_format(ROWS["custom"], ask, features)[1].input_tokens

    digits = "1 2 3 4 5 6 7 8 9 " * 100
    assert tokens(digits) >= len(digits)
    assert tokens("维生素") >= 9


@pytest.mark.parametrize(
    ("status", "reply"),
    [
        (500, {"error": f"bad upstream key {KEY}"}),
        (429, {"error": f"Authorization: Bearer {KEY} is over its limit"}),
        (200, f"<html>{KEY}</html>"),
        (400, {"error": f"logprobs are not supported for key {KEY}"}),
        (401, {"error": KEY}),
    ],
)
def test_a_key_that_a_server_says_aloud_is_not_repeated(
    status, reply, scripted_judge, monkeypatch, caplog, tmp_path
):
    monkeypatch.setenv("MY_KEY", KEY)
    config = replace(
        CUSTOM,
        key_env="MY_KEY",
        grading="labels",
        deadline_s=1,
        ledger=str(tmp_path / "ledger.sqlite"),
    )
    server = scripted_judge(lambda body: (status, reply))
    with caplog.at_level(logging.DEBUG):
        (verdict,), stats = asked_of(server, config)
    assert isinstance(verdict, JudgeFault)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert KEY.encode() not in on_disk
    assert KEY not in repr(verdict) + repr(stats) + caplog.text


def test_one_odd_reply_does_not_cost_a_judge_its_log_probs(
    scripted_judge, chat_completion, tmp_path
):
    ledger = tmp_path / "ledger.sqlite"
    top = [{"token": "same", "logprob": -0.1}]
    given = {"content": [{**top[0], "top_logprobs": top}]}

    def answer(body):
        number = read_user_message(body["messages"][-1]["content"]).question
        if number in ("Question 0?", "Question 3?"):  # nothing at all; words without log-probs
            return 200, chat_completion("" if number == "Question 0?" else "same")
        return 200, chat_completion("same", logprobs=given)

    async def go():
        async with scripted_judge(answer) as server:
            config = replace(CUSTOM, url=server.url, grading="labels", ledger=str(ledger))
            async with make_judge(config) as judge:
                verdicts = [await judge.score_one(request) for request in requests(5)]
        async with Ledger(ledger) as reopened:
            return verdicts, server.asked, reopened.spent()

    verdicts, asked, spent = asyncio.run(go())
    causes = [verdict.cause if isinstance(verdict, JudgeFault) else None for verdict in verdicts]
    missing = FaultCause.NO_LOGPROBS
    assert causes == [missing, None, None, missing, None]
    assert all(body.get("logprobs") for body in asked)
    assert spent.tokens == 5 * 110  # theirs were paid for too


def test_a_spent_budget_does_not_stick_to_a_question(scripted_judge, chat_completion):
    claims = '{"claims": ["It names it."]}'

    def answer(body):
        committing = read_user_message(body["messages"][-1]["content"]).answer is None
        return 200, chat_completion(claims if committing else SAME)

    async def go():
        async with scripted_judge(answer) as server:
            config = replace(CUSTOM, url=server.url, commit_first=True, max_calls=1)
            async with make_judge(config) as judge:
                with pytest.raises(BudgetExceeded):
                    await judge.score(requests(1))
                budget = judge._chains[0][0].chat.books.budget
                with pytest.raises(BudgetExceeded):
                    await judge.score_one(requests(2)[1])
                budget._max_calls = 10
                return await judge.score(requests(2))

    assert [verdict.tier for verdict in asyncio.run(go())] == ["same", "same"]


def test_what_else_is_accepted_is_part_of_a_commitment(scripted_judge, chat_completion):
    claims = '{"claims": ["It names it."]}'
    shown = []

    def answer(body):
        user = body["messages"][-1]["content"]
        if read_user_message(user).answer is None:
            shown.append(read_user_message(user).aliases)
            return 200, chat_completion(claims)
        return 200, chat_completion(SAME)

    both = [REQUEST, replace(REQUEST, aliases=("ascorbic acid",))]
    asked_of(scripted_judge(answer), replace(CUSTOM, commit_first=True), *both)
    assert sorted(shown) == [(), ("ascorbic acid",)]


def test_a_query_stays_at_the_end_of_a_url(scripted_judge, chat_completion):
    server = scripted_judge(lambda body: (200, chat_completion(SAME)))

    async def go():
        async with server:
            url = f"{server.url}?api-version=1"
            async with make_judge(replace(CUSTOM, url=url)) as judge:
                return await judge.score_one(REQUEST)

    assert asyncio.run(go()).tier == "same"
    assert server.paths == ["/v1/chat/completions"]
    whole = endpoint("http://h/v1/?api-version=1", "/chat/completions")
    assert whole == "http://h/v1/chat/completions?api-version=1"


def test_an_error_that_quotes_the_prompt_refuses_nothing(scripted_judge):
    said = "prompt too long: 'Which tool measures body temperature? The schema of ...'"
    server = scripted_judge(lambda body: (400, {"error": {"message": said}}))
    (verdict,), _ = asked_of(server, CUSTOM)
    assert verdict.cause is FaultCause.BAD_REQUEST
    assert len(server.asked) == 1


def test_another_gguf_under_the_same_name_is_another_judge(tmp_path):
    weights = tmp_path / "judge.gguf"
    weights.write_bytes(bytes(200_000))
    before = fingerprint(str(weights))
    weights.write_bytes(bytes(199_999) + b"x")
    assert fingerprint(str(weights)) != before
    weights.write_bytes(bytes(200_000))
    assert fingerprint(str(weights)) == before
