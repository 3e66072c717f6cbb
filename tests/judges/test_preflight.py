from dataclasses import replace

import pytest

from judges import JudgeConfig
from judges.preflight import Workload, describe, estimate, main

WORK = Workload(prompts=4, group_size=8, steps=10, answer_tokens=50)
PAID = JudgeConfig(backend="custom", model="m", url="http://127.0.0.1:9/v1", usd_per_m_in=1.0)


def test_calls_are_answers_times_samples_times_judges():
    assert estimate(PAID, WORK).calls == 320
    assert estimate(replace(PAID, samples=3), WORK).calls == 960
    panel = replace(PAID, panel=("custom:n@http://127.0.0.1:9/v1",))
    assert estimate(panel, WORK).calls == 640


def test_a_commitment_is_one_more_call_a_question():
    assert estimate(replace(PAID, commit_first=True), WORK).calls == 320 + 40


def test_money_is_tokens_times_price():
    total = estimate(replace(PAID, usd_per_m_out=2.0), WORK)
    assert total.usd == pytest.approx((total.input_tokens + 2 * total.output_tokens) / 1e6)
    assert total.usd_at_most > total.usd


def test_a_longer_answer_and_a_longer_run_cost_more():
    base = estimate(PAID, WORK)
    assert estimate(PAID, replace(WORK, answer_tokens=500)).input_tokens == (
        base.input_tokens + 320 * 450
    )
    assert estimate(PAID, replace(WORK, steps=20)).input_tokens == 2 * base.input_tokens


def test_hours_follow_the_slowest_of_latency_and_rate_limits():
    assert estimate(PAID, WORK, reply_s=3.6).judge_hours == pytest.approx(320 / 32 * 3.6 / 3600)
    assert estimate(replace(PAID, max_in_flight=4), WORK, reply_s=3.6).judge_hours == (
        pytest.approx(320 / 4 * 3.6 / 3600)
    )
    assert estimate(replace(PAID, rpm=10), WORK).judge_hours == pytest.approx(32 / 60)


def test_labels_need_one_token_a_reply():
    assert estimate(replace(PAID, grading="labels"), WORK).output_tokens == 320


def test_an_estimate_needs_no_key():
    assert estimate(JudgeConfig(backend="deepseek"), WORK).usd > 0


def test_a_budget_that_will_stop_the_run_is_told():
    config = replace(PAID, max_calls=100)
    assert "judge.max_calls is 100: about 320 are needed" in describe(
        config, estimate(config, WORK)
    )
    assert "will stop" not in describe(PAID, estimate(PAID, WORK))


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
