"""What a run checks before it starts anything, with the real tokenizer and the shipped data."""

import dataclasses
import errno
import json
import socket

import pytest

from experiments.quickstart import QUICKSTART
from rl.refusal import Refusal
from rl.run.checked import check
from rl.run.lifecycle import run
from rl.run.preflight import with_ledger
from rl.stages.gspo import GSPOStage

pytestmark = pytest.mark.slow


def with_section(name, **values):
    section = dataclasses.replace(getattr(QUICKSTART, name), **values)
    return dataclasses.replace(QUICKSTART, **{name: section})


def test_prompts_that_do_not_fit_are_counted_and_left_out(capsys):
    everything = check(QUICKSTART)
    some = check(with_section("rollout", max_prompt_tokens=36))
    said = capsys.readouterr().err
    dropped = len(everything.train) + len(everything.heldout) - len(some.train) - len(some.heldout)
    assert 0 < len(some.train) < len(everything.train)
    assert f"left out {dropped} prompts of more than 36 tokens" in said


def test_a_prompt_and_a_completion_must_fit_into_the_models_window_together():
    window = 8192  # SmolLM2's
    check(with_section("rollout", max_new_tokens=window - 128, max_prompt_tokens=128))
    with pytest.raises(Refusal, match=r"do not fit together into the model's window of 8192"):
        check(with_section("rollout", max_new_tokens=window - 127, max_prompt_tokens=128))


def test_several_gpus_in_one_process_are_refused_before_anything_loads(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # vLLM has torch ask that count
    with pytest.raises(Refusal, match=r"torchrun --nproc-per-node 2 .* CUDA_VISIBLE_DEVICES=0"):
        check(QUICKSTART)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check(QUICKSTART)


def test_a_port_in_use_is_told_before_there_is_a_folder(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = with_section("rollout", port=taken.getsockname()[1], engine="vllm")
        with pytest.raises(Refusal, match=r"is in use"):
            run(GSPOStage(dataclasses.replace(config, out=str(tmp_path))), "-m x")
    assert list(tmp_path.iterdir()) == []


def untracked(out):
    tracking = dataclasses.replace(QUICKSTART.tracking, mode="disabled")
    return dataclasses.replace(QUICKSTART, out=str(out), tracking=tracking)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("shapes do not match"), "ValueError: shapes do not match"),
        (TimeoutError("no answer"), "TimeoutError: no answer"),
    ],
)
def test_an_error_that_is_not_ours_shows_where_it_was_raised_and_deletes_nothing(
    tmp_path, capfd, error, told
):
    class Paying(GSPOStage):
        def run(self, run):
            (run.log.folder / "judge.sqlite").write_text("paid")
            raise error

    assert run(Paying(untracked(tmp_path)), "-m experiments.quickstart") == 1
    folder = tmp_path / "quickstart"
    assert (folder / "judge.sqlite").read_text() == "paid"
    assert json.loads((folder / "summary.json").read_text())["stopped"] == told
    assert "raise error" in capfd.readouterr().err


def test_a_disk_without_room_is_a_sentence(tmp_path, capfd):
    class OnAFullDisk(GSPOStage):
        def run(self, run):
            raise OSError(errno.ENOSPC, "No space left on device")

    assert run(OnAFullDisk(untracked(tmp_path)), "-m experiments.quickstart") == 1
    said = capfd.readouterr().err
    assert "cannot be written to" in said
    assert "Traceback" not in said


def test_a_window_no_prompt_fits_says_what_to_change():
    with pytest.raises(ValueError, match=r"every prompt has more than 3 tokens.*max-prompt-tokens"):
        check(with_section("rollout", max_prompt_tokens=3))


def test_the_run_says_what_its_judge_will_be_asked(capsys):
    check(QUICKSTART)
    gspo = QUICKSTART.gspo
    answers = gspo.rows * gspo.generations + 2 * QUICKSTART.data.heldout_rows
    assert f"about {answers:,} calls" in capsys.readouterr().err


def test_the_rule_judge_knows_the_answers_of_the_data_it_judges(tmp_path, capsys):
    rows = tmp_path / "mine.jsonl"
    row = json.dumps({"question": "Which organ pumps blood?", "answer": "Heart"}) + "\n"
    rows.write_text(row * QUICKSTART.gspo.prompts)
    checked = check(with_section("data", train=str(rows)))
    assert checked.judge.known == str(rows)
    assert 'mark some rows "split": "heldout"' in capsys.readouterr().err


def test_only_a_paid_judge_gets_a_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", "not-a-key")
    paid = dataclasses.replace(QUICKSTART.judge, backend="deepseek")
    assert with_ledger(paid, tmp_path).ledger == str(tmp_path / "judge.sqlite")
    assert with_ledger(QUICKSTART.judge, tmp_path).ledger is None
