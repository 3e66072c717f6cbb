import asyncio
import json
import logging
import traceback
from dataclasses import replace

import pytest

from judges import FaultCause, JudgeConfig, JudgeRequest, Scored, make_judge
from judges.client.backends import ROWS, named, resolve, shown, swapped
from judges.rubric.prompt import read_user_message
from judges.serve.child import ChildServer

REQUEST = JudgeRequest(question="Lack of which vitamin?", truth="Vitamin C", answer="Vitamin C")
VERDICT = '{"rationale": "Same.", "tier": "same"}'
KEY = "sk-very-secret-1234567890"


def ask(server, config, *requests):
    """The verdicts, with the config's url set to the server's."""

    async def go():
        async with server, make_judge(replace(config, url=server.url)) as judge:
            return await judge.score(requests or (REQUEST,)), judge.stats()

    return asyncio.run(go())


def test_a_missing_key_names_the_variable_before_anything_loads():
    for name in ("deepseek", "openai", "anthropic", "openrouter"):
        with pytest.raises(ValueError, match=f"export {name.upper()}_API_KEY="):
            make_judge(JudgeConfig(backend=name))


def test_a_misspelt_backend_gets_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean deepseek"):
        make_judge(JudgeConfig(backend="deepsek"))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (JudgeConfig(backend="custom", model="m"), "judge.url is missing"),
        (JudgeConfig(backend="vllm"), "judge.model is missing"),
        (JudgeConfig(backend="llamacpp"), "GGUF"),
        (JudgeConfig(backend="llamacpp", model="missing.gguf"), "no such file"),
        (JudgeConfig(backend="custom", model="m", url="localhost:80"), "must begin with http"),
        (JudgeConfig(backend="replay"), "judge.ledger"),
        (JudgeConfig(known="missing.jsonl"), "judge.known"),
        (JudgeConfig(panel=("opnai",)), "Did you mean openai"),
        (JudgeConfig(fallback=("deepseek",)), "DEEPSEEK_API_KEY"),
    ],
)
def test_what_cannot_work_is_told_when_the_judge_is_made(config, said):
    with pytest.raises(ValueError, match=said):
        make_judge(config)


def test_log_probs_from_a_backend_without_them_are_refused_at_once(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    with pytest.raises(ValueError, match="gives no log-probs"):
        make_judge(JudgeConfig(backend="anthropic", grading="labels"))


@pytest.mark.parametrize("name", [row.name for row in ROWS.values() if row.model])
def test_changing_the_backend_alone_leaves_no_model_or_url_behind(name, monkeypatch):
    for row in ROWS.values():
        if row.key_env:
            monkeypatch.setenv(row.key_env, KEY)
    row = ROWS[name]
    backend = resolve(JudgeConfig(backend=name))
    assert (backend.model, backend.url, backend.key_env) == (row.model, row.url, row.key_env)


def test_a_rows_key_is_not_sent_to_another_host(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    elsewhere = JudgeConfig(backend="openai", url="http://127.0.0.1:9/v1")
    assert resolve(elsewhere).key() is None
    wanted = JudgeConfig(backend="openai", url="http://127.0.0.1:9/v1", key_env="OPENAI_API_KEY")
    assert resolve(wanted).key() == KEY


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("deepseek", ("deepseek", None, None)),
        ("openai:gpt-x", ("openai", "gpt-x", None)),
        ("ollama:qwen:7b", ("ollama", "qwen:7b", None)),
        ("custom:m@http://h:1/v1", ("custom", "m", "http://h:1/v1")),
        ("custom:@cf/m@https://h/v1", ("custom", "@cf/m", "https://h/v1")),
    ],
)
def test_further_judges_are_written_in_one_word(entry, expected):
    config = named(JudgeConfig(backend="vllm", model="old", url="http://old/v1"), entry)
    assert (config.backend, config.model, config.url) == expected


def test_the_openai_format_asks_for_the_schema_with_the_rationale_first(
    scripted_judge, chat_completion
):
    server = scripted_judge(lambda body: (200, chat_completion(VERDICT)))
    (verdict,), stats = ask(server, JudgeConfig(backend="custom", model="m"))
    assert (verdict.tier, verdict.score, verdict.rationale) == ("same", 2.0, "Same.")
    body = server.asked[0]
    schema = body["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["rationale", "tier"]
    assert schema["properties"]["tier"]["enum"][0] == "same"
    assert body["temperature"] == 0.0
    assert read_user_message(body["messages"][1]["content"]).answer == "Vitamin C"
    assert server.paths == ["/v1/chat/completions"]
    assert stats.usage.input_tokens == 100


def test_a_judge_that_need_not_say_why_is_asked_for_the_tier_alone(scripted_judge, chat_completion):
    server = scripted_judge(lambda body: (200, chat_completion('{"tier": "same"}')))
    (verdict,), _ = ask(server, JudgeConfig(backend="custom", model="m", rationale=False))
    assert (verdict.tier, verdict.rationale) == ("same", "")
    schema = server.asked[0]["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == schema["required"] == ["tier"]
    assert "rationale" not in server.asked[0]["messages"][0]["content"]
    with pytest.raises(ValueError, match=r"use --judge\.grading schema"):
        JudgeConfig(rationale=False, grading="labels")


def test_anthropic_is_spoken_to_in_its_own_format(scripted_judge, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    tool = {"type": "tool_use", "name": "give_verdict", "input": json.loads(VERDICT)}
    usage = {"input_tokens": 20, "cache_read_input_tokens": 80, "output_tokens": 9}
    server = scripted_judge(
        lambda body: (200, {"content": [tool], "stop_reason": "tool_use", "usage": usage})
    )
    config = JudgeConfig(backend="anthropic", key_env="MY_KEY")
    (verdict,), stats = ask(server, config)
    assert verdict.tier == "same"
    assert server.paths == ["/v1/messages"]
    assert server.headers[0]["x-api-key"] == KEY
    assert server.headers[0]["anthropic-version"]
    body = server.asked[0]
    assert body["tool_choice"] == {"type": "tool", "name": "give_verdict"}
    assert body["tools"][0]["input_schema"]["properties"]["tier"]["enum"][0] == "same"
    assert "cache_control" not in body["system"][0]  # too short a prompt for its model to keep
    assert [message["role"] for message in body["messages"]] == ["user"]
    assert (stats.usage.input_tokens, stats.usage.cached_tokens) == (100, 80)
    assert stats.usage.usd == pytest.approx((100 * 1.0 + 9 * 5.0) / 1e6)


def test_anthropics_refusal_and_cut_replies_are_named(scripted_judge, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    config = JudgeConfig(backend="anthropic", key_env="MY_KEY")
    for stop, cause in (("refusal", FaultCause.REFUSED), ("max_tokens", FaultCause.TRUNCATED)):
        reply = {"content": [{"type": "text", "text": VERDICT}], "stop_reason": stop}
        (verdict,), _ = ask(scripted_judge(lambda body, reply=reply: (200, reply)), config)
        assert verdict.cause is cause


def refuse_unless(accepts, reply, message):
    def answer(body):
        if accepts(body):
            return 200, reply
        return 400, {"error": {"message": message, "type": "invalid_request_error"}}

    return answer


def test_a_refused_form_is_lowered_once_and_remembered(scripted_judge, chat_completion, caplog):
    def accepts(body):
        return body.get("response_format", {}).get("type") == "json_object"

    answer = refuse_unless(accepts, chat_completion(VERDICT), "response_format not supported")
    server = scripted_judge(answer)

    async def go():
        async with (
            server,
            make_judge(JudgeConfig(backend="custom", model="m", url=server.url)) as judge,
        ):
            first = await judge.score_one(REQUEST)
            after_first = len(server.asked)
            again = await judge.score([REQUEST] * 3)
            return first, after_first, again

    with caplog.at_level(logging.WARNING, logger="judges"):
        first, after_first, again = asyncio.run(go())
    assert after_first == 2
    assert all(isinstance(verdict, Scored) for verdict in (first, *again))
    assert all(accepts(body) for body in server.asked[2:])
    assert [record.message for record in caplog.records] == [
        "custom:m refuses json_schema; asking for json_object"
    ]


def test_a_backend_that_takes_no_form_at_all_is_at_fault_once_both_were_tried(
    scripted_judge, chat_completion
):
    answer = refuse_unless(
        lambda body: "response_format" not in body, chat_completion(VERDICT), "response_format?"
    )
    server = scripted_judge(answer)
    (verdict,), _ = ask(server, JudgeConfig(backend="custom", model="m"))
    assert verdict.cause is FaultCause.BAD_REQUEST
    forms = [body.get("response_format", {}).get("type") for body in server.asked]
    assert forms == ["json_schema", "json_object"]


def test_a_backend_that_takes_no_temperature_is_not_told_one(scripted_judge, chat_completion):
    answer = refuse_unless(
        lambda body: "temperature" not in body,
        chat_completion(VERDICT),
        "Unsupported value: 'temperature' does not support 0",
    )
    server = scripted_judge(answer)
    (verdict,), _ = ask(server, JudgeConfig(backend="custom", model="m"))
    assert verdict.tier == "same"
    assert "response_format" in server.asked[-1]
    assert len(server.asked) == 2


def test_a_judge_that_is_already_running_can_be_shared():
    async def go():
        async with ChildServer([]) as server:
            config = JudgeConfig(backend="rules", url=server.url)
            async with make_judge(config) as one, make_judge(config) as other:
                return await one.score_one(REQUEST), await other.score_one(REQUEST)

    assert [verdict.tier for verdict in asyncio.run(go())] == ["same", "same"]


def test_a_plain_bad_request_is_a_fault_and_is_not_asked_again(scripted_judge):
    server = scripted_judge(lambda body: (400, {"error": {"message": "context too long"}}))
    (verdict,), _ = ask(server, JudgeConfig(backend="custom", model="m"))
    assert verdict.cause is FaultCause.BAD_REQUEST
    assert "context too long" in verdict.detail
    assert len(server.asked) == 1


@pytest.mark.parametrize("refuses", [True, False], ids=["refused", "ignored"])
def test_without_log_probs_it_falls_back_to_the_schema_and_says_so(
    scripted_judge, chat_completion, caplog, refuses
):
    def answer(body):
        if refuses and "logprobs" in body:
            return 400, {"error": {"message": "logprobs is not supported by this model"}}
        return 200, chat_completion("A" if "logprobs" in body else VERDICT)

    server = scripted_judge(answer)
    config = JudgeConfig(backend="custom", model="m", grading="labels")
    with caplog.at_level(logging.WARNING, logger="judges"):
        verdicts, _ = ask(server, config, *[REQUEST] * 3)
    assert [verdict.tier for verdict in verdicts] == ["same"] * 3
    assert sum("gives no log-probs" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        ("<html>busy</html>", FaultCause.BAD_REPLY),
        ("[1]", FaultCause.BAD_REPLY),
        ({"error": {"message": "upstream"}}, FaultCause.BAD_REPLY),
        ({"choices": []}, FaultCause.BAD_REPLY),
        ({"choices": [{"message": None}]}, FaultCause.BAD_REPLY),
        ({"choices": [{"message": {"content": None}}]}, FaultCause.EMPTY),
        (
            {"choices": [{"message": {"content": None, "refusal": "No."}}]},
            FaultCause.REFUSED,
        ),
        (
            {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]},
            FaultCause.CONTENT_FILTER,
        ),
        (
            {"choices": [{"message": {"content": VERDICT}, "finish_reason": "length"}]},
            FaultCause.TRUNCATED,
        ),
    ],
)
def test_replies_that_are_none_are_named(scripted_judge, reply, cause):
    (verdict,), stats = ask(
        scripted_judge(lambda body: (200, reply)), JudgeConfig(backend="custom", model="m")
    )
    assert verdict.cause is cause
    assert stats.faults == {cause.value: 1}


def test_the_key_is_sent_and_appears_nowhere_else(scripted_judge, monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("MY_KEY", KEY)
    server = scripted_judge(lambda body: (401, {"error": f"bad key {KEY}"}))
    config = JudgeConfig(backend="openai", key_env="MY_KEY", ledger=str(tmp_path / "ledger.sqlite"))
    seen = []

    async def go():
        async with server:
            judge = make_judge(replace(config, url=server.url))
            async with judge:
                seen.append(repr(judge) + repr(judge.config) + repr(vars(judge)))
                verdict = await judge.score_one(REQUEST)
                seen.append(repr(verdict) + repr(judge.stats()))
                return verdict

    with caplog.at_level(logging.DEBUG):
        verdict = asyncio.run(go())
    assert verdict.cause is FaultCause.AUTH
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert KEY.encode() not in on_disk
    assert KEY not in "".join(seen) + caplog.text


def test_a_traceback_of_a_missing_key_shows_none(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    try:
        make_judge(JudgeConfig(backend="openai", grading="schema", rubric="nope"))
    except ValueError:
        assert KEY not in traceback.format_exc()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h:99999/v1", "Port out of range"),
        ("http://[::1/v1", "Invalid IPv6"),
        ("http:///v1", "names no host"),
        ("http://h/v1?api_key=***", "a key was left out when it was written down"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_when_the_judge_is_made(url, said):
    with pytest.raises(ValueError, match=said):
        make_judge(JudgeConfig(backend="custom", model="m", url=url))


def test_a_key_of_two_lines_is_told_without_showing_it(monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", f"{KEY}\nand more")
    with pytest.raises(ValueError, match="DEEPSEEK_API_KEY holds more than one line") as caught:
        make_judge(JudgeConfig(backend="deepseek"))
    assert KEY not in str(caught.value)
    monkeypatch.setenv("DEEPSEEK_API_KEY", f"{KEY}\n")
    assert ROWS["deepseek"].key() == KEY


def test_another_backend_keeps_nothing_of_the_last_one():
    said_of_the_last = JudgeConfig(
        backend="vllm",
        model="qwen",
        url="http://127.0.0.1:9/v1",
        key_env="MINE",
        timeout_s=1.0,
        rpm=1,
        usd_per_m_in=3.0,
        rubric="facts_en",
    )
    other = swapped(said_of_the_last, "ollama")
    assert other == JudgeConfig(backend="ollama", rubric="facts_en")


def test_a_key_in_a_url_is_neither_shown_nor_repeated(scripted_judge):
    def not_found(body):
        return 404, f"Cannot POST /v1/chat/completions?version=2024-10-21&key={KEY}"

    async def go():
        async with scripted_judge(not_found) as server:
            url = f"{server.url}?version=2024-10-21&key={KEY}"
            config = JudgeConfig(
                backend="custom", model="m", url=url, panel=(f"custom:n@{url}",), retries=0
            )
            async with make_judge(replace(config, panel=())) as judge:
                (verdict,) = await judge.score([REQUEST])
            return verdict, shown(config), server.url

    verdict, public, url = asyncio.run(go())
    assert "version=2024-10-21&key=***" in verdict.detail
    assert public.url == f"{url}?version=2024-10-21&key=***"
    assert public.panel == (f"custom:n@{url}?version=2024-10-21&key=***",)
    assert shown(JudgeConfig(url="http://me:password@h/v1")).url == "http://***@h/v1"


def test_a_redirect_is_a_plain_refusal_that_costs_nothing(scripted_judge):
    config = JudgeConfig(
        backend="custom", model="m", usd_per_m_in=1e6, usd_per_m_out=0.0, max_usd=1e6, retries=0
    )
    verdicts, stats = ask(scripted_judge(lambda body: (307, "")), config)
    assert verdicts[0].cause is FaultCause.BAD_REQUEST
    assert "HTTP 307" in verdicts[0].detail
    assert stats.usage.usd == 0.0


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -1.0])
def test_a_price_that_would_switch_a_budget_off_is_refused(price):
    with pytest.raises(ValueError, match=r"judge.usd_per_m_in is"):
        JudgeConfig(usd_per_m_in=price, max_usd=1.0)
