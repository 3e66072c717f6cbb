"""The live line and the closing table, as they come out of a terminal and of a pipe."""

import fcntl
import io
import os
import struct
import sys
import termios

import pytest

from rl.progress import Progress, duration, format_line, format_summary, remaining_s

ROW = {
    "generation": 7,
    "seconds": 95.0,
    "reward/mean": 0.42,
    "reward/std": 0.61,
    "kl/ref": 0.00312,
    "clip/seq": 0.14,
    "rollout/tokens_per_s": 121.4,
    "judge/p50_s": 0.041,
    "judge/faults": 2,
}
FULL = (
    "generation 7/40  reward +0.42 ±0.61  KL 0.0031  clip 14%  121 tok/s  "
    "judge 0.04 s  faults 2  ETA 3 min 05 s"
)


def test_a_generation_is_one_line():
    assert format_line(ROW, 40, 185.0, 200) == FULL


def test_a_narrow_terminal_gets_the_most_wanted_fields():
    for width in range(5, 130):
        assert len(format_line(ROW, 40, 185.0, width)) <= width
    assert format_line(ROW, 40, 185.0, 60) == (
        "generation 7/40  reward +0.42 ±0.61  ETA 3 min 05 s"
    )
    assert format_line(ROW, 40, 185.0, 40) == "generation 7/40  reward +0.42 ±0.61"


def test_what_was_not_measured_is_left_out():
    assert format_line({"generation": 1, "reward/mean": -0.5}, 40, None, 80) == (
        "generation 1/40  reward -0.50"
    )
    assert format_line({"generation": 1, "kl/old": 1.2e-5}, 2, None, 80) == (
        "generation 1/2  KL old 0.00001"
    )


def test_the_time_left_follows_the_recent_pace_and_not_the_start():
    rows = [{"generation": 0, "seconds": 1.0}]
    rows += [{"generation": n, "seconds": 300.0 + 10.0 * n} for n in range(1, 9)]
    assert remaining_s(rows, 20) == pytest.approx(120.0)
    assert remaining_s(rows[:1], 20) is None
    assert remaining_s(rows, 8) == 0.0


def test_durations_read_as_a_person_says_them():
    said = [duration(seconds) for seconds in (0.4, 59.6, 185, 3600, 7830)]
    assert said == ["0 s", "1 min 00 s", "3 min 05 s", "1 h 00 min", "2 h 10 min"]


def test_a_pipe_gets_one_plain_line_a_generation():
    pipe = io.StringIO()
    progress = Progress(3, pipe)
    for generation in (1, 2):
        progress.phase("sampling")
        progress.generation({"generation": generation, "seconds": 1.0, "reward/mean": 0.0})
    progress.close()
    assert pipe.getvalue() == (
        "generation 1/3  reward +0.00\ngeneration 2/3  reward +0.00  ETA 0 s\n"
    )


def test_a_terminal_has_its_line_rewritten_and_is_left_on_a_fresh_one():
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 44, 0, 0))
    with os.fdopen(theirs, "w") as terminal:
        progress = Progress(40, terminal)
        progress.phase("sampling")
        progress.generation(ROW)
        progress.phase("updating")
        progress.close()
        shown = os.read(ours, 4096).decode()
    os.close(ours)
    *rewritten, after = shown.split("\r\x1b[2K")
    lines = [line.rstrip("\r\n") for line in [*rewritten[1:], after]]
    assert lines[0] == "generation 1/40  sampling"
    assert lines[1].startswith("generation 7/40  reward +0.42")
    assert lines[2].startswith("generation 8/40  updating  | last: reward")
    assert max(map(len, lines)) <= 43
    assert after.endswith("\n")


def test_the_closing_table_says_what_changed_where_it_is_and_what_next():
    table = format_summary(
        {
            "heldout_before": -0.31,
            "heldout_after": 0.94,
            "reward_first": -0.4,
            "reward_last": 1.1,
            "heldout_tiers_before": {"contradicts": 0.75, "same": 0.25},
            "heldout_tiers_after": {"same": 0.6, "contradicts": 0.4},
            "generations": 24,
            "steps": 96,
            "seconds": 372.4,
            "judge_faults": 3,
            "judge_usd": 1.23456,
            "folder": "runs/quickstart",
            "experiment": "-m experiments.quickstart",
        }
    )
    lines = [line.split() for line in table.splitlines()]
    assert ["held-out", "reward", "-0.31", "+0.94", "+1.25"] in lines
    assert ["training", "reward", "-0.40", "+1.10", "+1.50"] in lines
    assert ["same", "25%", "60%", "+35", "%"] in lines
    assert ["time", "6", "min", "12", "s"] in lines
    assert ["judge", "faults", "3"] in lines
    assert ["judge", "cost", "$1.2346"] in lines
    assert "runs/quickstart/report.html" in table
    assert "python -m experiments.quickstart --from runs/quickstart/config.json" in table


def test_a_paid_run_cut_short_is_started_again_on_its_ledger(tmp_path):
    summary = {"folder": str(tmp_path), "experiment": "mine.py", "stopped": "interrupted"}
    assert f"mine.py --from {tmp_path}/config.json\n" in format_summary(summary) + "\n"
    (tmp_path / "judge.sqlite").touch()
    ledger = f"mine.py --from {tmp_path}/config.json --judge.ledger {tmp_path}/judge.sqlite  #"
    assert ledger in format_summary(summary)
    assert ledger not in format_summary(summary | {"stopped": None})


def test_commands_are_those_of_this_environment(tmp_path, monkeypatch):
    summary = {"folder": "runs/x"}
    monkeypatch.chdir(tmp_path)
    for name in ("python", "wandb"):
        (tmp_path / ".venv/bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / ".venv/bin" / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python3"))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert "  .venv/bin/wandb leet runs/x/wandb\n" in format_summary(summary)
    monkeypatch.setenv("PATH", f"{tmp_path}/.venv/bin:/usr/bin")
    assert "  wandb leet runs/x/wandb\n" in format_summary(summary)


def test_the_table_of_a_run_cut_short_has_what_there_is():
    table = format_summary({"reward_first": 0.1, "heldout_before": 0.2, "seconds": 5.0})
    assert table.split() == ["before", "after", "change", "time", "5", "s"]
