"""What a run checks before it starts anything, with the real tokenizer and the shipped data."""

import dataclasses
import json

import pytest

from experiments.quickstart import QUICKSTART
from rl import run
from rl.preflight import with_ledger


def with_section(name, **values):
    section = dataclasses.replace(getattr(QUICKSTART, name), **values)
    return dataclasses.replace(QUICKSTART, **{name: section})


def test_prompts_that_do_not_fit_are_counted_and_left_out(capsys):
    everything = run._check(QUICKSTART)
    some = run._check(with_section("rollout", max_prompt_tokens=36))
    said = capsys.readouterr().err
    dropped = len(everything.train) + len(everything.heldout) - len(some.train) - len(some.heldout)
    assert 0 < len(some.train) < len(everything.train)
    assert f"left out {dropped} prompts of more than 36 tokens" in said


def test_the_models_own_window_counts_too():
    window = 8192  # SmolLM2's
    roomy = {"max_new_tokens": window - 36, "max_prompt_tokens": window}
    tight = run._check(with_section("rollout", **roomy))
    assert max(len(prompt.token_ids) for prompt in tight.train) <= 36


def test_a_window_no_prompt_fits_says_what_to_change():
    with pytest.raises(ValueError, match=r"every prompt has more than 3 tokens.*max-prompt-tokens"):
        run._check(with_section("rollout", max_prompt_tokens=3))


def test_the_run_says_what_its_judge_will_be_asked(capsys):
    run._check(QUICKSTART)
    gspo = QUICKSTART.gspo
    answers = gspo.rows * gspo.generations + 2 * QUICKSTART.data.heldout_rows
    assert f"about {answers:,} calls" in capsys.readouterr().err


def test_the_rule_judge_knows_the_answers_of_the_data_it_judges(tmp_path, capsys):
    rows = tmp_path / "mine.jsonl"
    row = json.dumps({"question": "Which organ pumps blood?", "answer": "Heart"}) + "\n"
    rows.write_text(row * QUICKSTART.gspo.prompts)
    checked = run._check(with_section("data", train=str(rows)))
    assert checked.judge.known == str(rows)
    assert 'mark some rows "split": "heldout"' in capsys.readouterr().err


def test_only_a_paid_judge_gets_a_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", "not-a-key")
    paid = dataclasses.replace(QUICKSTART.judge, backend="deepseek")
    assert with_ledger(paid, tmp_path).ledger == str(tmp_path / "judge.sqlite")
    assert with_ledger(QUICKSTART.judge, tmp_path).ledger is None
