import asyncio
import json
from dataclasses import replace

import pytest

from judges import JudgeConfig, JudgeRequest, Scored, make_judge
from judges.client.budget import Budget
from judges.commands.forecast import Workload, forecast
from judges.commands.preflight import describe, main
from judges.rubric.lineup import read_lineup, stated

WORK = Workload(prompts=4, group_size=8, steps=10, answer_tokens=50)
PAID = JudgeConfig(
    backend="custom",
    model="m",
    url="http://127.0.0.1:9/v1",
    usd_per_m_in=1.0,
    usd_per_m_out=0.0,
)


def test_calls_are_answers_times_samples_times_judges():
    assert forecast(PAID, WORK).calls == 320
    assert forecast(replace(PAID, samples=3), WORK).calls == 960
    panel = replace(PAID, panel=("custom:n@http://127.0.0.1:9/v1",))
    assert forecast(panel, WORK).calls == 640


def test_held_out_answers_are_judged_before_and_after():
    without = Workload(prompts=2, group_size=4, steps=3)
    with_them = Workload(prompts=2, group_size=4, steps=3, heldout=5)
    extra = forecast(JudgeConfig(), with_them).calls - forecast(JudgeConfig(), without).calls
    assert extra == 2 * 5


def test_a_commitment_is_one_more_call_a_question():
    assert forecast(replace(PAID, commit_first=True), WORK).calls == 320 + 40


ANSWERS = [
    JudgeRequest(question=f"Which {thing}?", truth="Vitamin C", answer=f"Vitamin C, {n} times over")
    for thing in ("fruit", "cause")
    for n in range(3)
]


def asked_of(judge, config):
    """The bodies that a judge is sent by a config, told by their prompts to be right every time."""

    async def go():
        async with judge, make_judge(replace(config, url=judge.url)) as own:
            verdicts = await own.score(ANSWERS)
            assert all(isinstance(verdict, Scored) for verdict in verdicts)

    asyncio.run(go())
    return judge.asked


def obliging(chat_completion):
    """Says the best of everything, and takes its time over it, each time another."""

    def answer(body):
        user = body["messages"][-1]["content"]
        if lined_up := read_lineup(user):
            return 200, chat_completion(json.dumps({"entry": stated(*lined_up)}))
        if "[[answer" not in user:
            return 200, chat_completion('{"claims": ["vitamin C"]}')
        return 200, chat_completion('{"rationale": "So.", "tier": "correct"}')

    return answer


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("commit_first", [False, True])
@pytest.mark.parametrize("lineup", [False, True])
@pytest.mark.parametrize("in_ledger", [False, True])
def test_no_more_calls_are_made_and_no_more_is_set_aside_than_estimated(
    scripted_judge, chat_completion, tmp_path, monkeypatch, samples, commit_first, lineup, in_ledger
):
    reserved = []
    reserve = Budget.reserve
    monkeypatch.setattr(
        Budget, "reserve", lambda self, worst: reserved.append(worst) or reserve(self, worst)
    )
    config = replace(
        PAID,
        rubric="facts_en",
        samples=samples,
        commit_first=commit_first,
        lineup=lineup,
        usd_per_m_out=2.0,
        ledger=str(tmp_path / "ledger.sqlite") if in_ledger else None,
    )
    work = Workload(prompts=2, group_size=3, steps=1, answer_tokens=8, question_tokens=8)
    bodies = asked_of(scripted_judge(obliging(chat_completion)), config)
    total = forecast(config, work)
    shared_by_luck = lineup and samples > 1 and not in_ledger
    assert len(bodies) <= total.calls if shared_by_luck else len(bodies) == total.calls
    assert len(reserved) == len(bodies)
    set_aside = sum(worst.usd for worst in reserved)
    assert set_aside <= total.usd_at_most
    if not shared_by_luck and not commit_first:  # whose claims may fill the whole reply
        assert total.usd_at_most < 1.1 * set_aside


def test_at_most_holds_for_the_dearest_judge_that_may_answer_in_any_language():
    cheap = forecast(PAID, WORK)
    dear = forecast(replace(PAID, fallback=("anthropic",)), WORK)
    assert (dear.calls, dear.usd) == (cheap.calls, cheap.usd)
    assert dear.usd_at_most == forecast(JudgeConfig(backend="anthropic"), WORK).usd_at_most
    one_language = forecast(replace(PAID, rubric="facts_en"), WORK)
    assert one_language.usd_at_most < cheap.usd_at_most


def test_a_longer_question_costs_more():
    more = forecast(PAID, replace(WORK, question_tokens=132)).input_tokens
    assert more == forecast(PAID, WORK).input_tokens + 320 * 100


def test_money_is_tokens_times_price():
    total = forecast(replace(PAID, usd_per_m_out=2.0), WORK)
    assert total.usd == pytest.approx((total.input_tokens + 2 * total.output_tokens) / 1e6)
    assert total.usd_at_most > total.usd


def test_a_longer_answer_and_a_longer_run_cost_more():
    base = forecast(PAID, WORK)
    assert forecast(PAID, replace(WORK, answer_tokens=500)).input_tokens == (
        base.input_tokens + 320 * 450
    )
    assert forecast(PAID, replace(WORK, steps=20)).input_tokens == 2 * base.input_tokens


def test_hours_follow_the_slowest_of_latency_and_rate_limits():
    assert forecast(PAID, WORK, reply_s=3.6).judge_hours == pytest.approx(320 / 32 * 3.6 / 3600)
    assert forecast(replace(PAID, max_in_flight=4), WORK, reply_s=3.6).judge_hours == (
        pytest.approx(320 / 4 * 3.6 / 3600)
    )
    assert forecast(replace(PAID, rpm=10), WORK).judge_hours == pytest.approx(32 / 60)


def test_labels_need_one_token_a_reply():
    assert forecast(replace(PAID, grading="labels"), WORK).output_tokens == 320


def test_an_estimate_needs_no_key():
    assert forecast(JudgeConfig(backend="deepseek"), WORK).usd > 0


@pytest.mark.parametrize(
    ("flags", "needs"),
    [
        ("--backend deepseek", "DEEPSEEK_API_KEY"),
        ("--backend rules --panel openai", "OPENAI_API_KEY"),
        ("--backend rules --fallback anthropic", "ANTHROPIC_API_KEY"),
        ("--backend custom --model m --url http://h/v1 --key-env MY_KEY", "MY_KEY"),
    ],
)
def test_a_key_that_is_missing_is_told(flags, needs, capsys, monkeypatch):
    monkeypatch.delenv(needs, raising=False)
    assert main(flags.split()) == 0
    assert f"the run would stop at once: {needs} is not set" in capsys.readouterr().out
    monkeypatch.setenv(needs, "k")
    assert main(flags.split()) == 0
    assert "would stop" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "whose"),
    [
        ("--backend openai --model gpt-5-pro", "openai charges for gpt-5-pro"),
        ("--backend custom --model m --url http://h/v1", "custom charges for m"),
        ("--backend rules --panel openrouter:big/model", "openrouter charges for big/model"),
        ("--backend openai --fallback custom:m@http://h/v1", "custom charges for m"),
    ],
)
def test_money_that_nobody_can_know_is_not_guessed(flags, whose, capsys):
    assert main(flags.split()) == 0
    said = capsys.readouterr().out
    assert f"money: unknown, for nobody has said what {whose}" in said
    assert "$" not in said


def test_prices_that_are_given_are_reckoned_with(capsys):
    flags = "--backend openai --model gpt-5-pro --usd-per-m-in 15 --usd-per-m-out 120"
    assert main(flags.split()) == 0
    assert "money: about $" in capsys.readouterr().out


def test_at_most_counts_what_a_host_charges_for_writing_its_cache():
    writing = JudgeConfig(backend="anthropic", usd_per_m_in=1.0, usd_per_m_out=0.0)
    assert forecast(writing, WORK).usd_at_most > 1.2 * forecast(PAID, WORK).usd_at_most


def test_a_budget_that_will_stop_the_run_is_told():
    config = replace(PAID, max_calls=100)
    assert "judge.max_calls is 100: about 320 are needed" in describe(
        config, forecast(config, WORK)
    )
    assert "will stop" not in describe(PAID, forecast(PAID, WORK))


def test_the_command_prints_it_and_explains_a_bad_backend(capsys):
    flags = ["--backend", "deepseek", "--prompts", "4", "--group-size", "8", "--steps", "10"]
    assert main(flags) == 0
    assert "about 320 calls" in capsys.readouterr().out
    assert main(["--backend", "depseek"]) == 2
    assert "Did you mean deepseek" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": 0}, "judge.samples is 0"),
        ({"deadline_s": 0.0}, "judge.deadline_s is 0.0"),
        ({"max_usd": -1.0}, "judge.max_usd is -1.0"),
        ({"rpm": 0}, "judge.rpm is 0"),
        ({"hedge_share": 2.0}, "judge.hedge_share is 2.0"),
        ({"temperature": 9.0}, "judge.temperature is 9.0"),
        ({"grading": "labels", "samples": 3}, "Use --judge.samples 1"),
    ],
)
def test_a_config_out_of_range_names_the_field_and_the_value(change, said):
    with pytest.raises(ValueError, match=said):
        JudgeConfig(**change)
