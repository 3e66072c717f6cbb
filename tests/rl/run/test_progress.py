"""The live line and the closing table, as they come out of a terminal and of a pipe."""

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from rl.run.progress import Progress, duration, format_line, print_summary, remaining_s

ROOT = Path(__file__).parents[3]
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


def test_a_run_that_counts_in_steps_says_so_and_what_its_loss_is():
    row = {"step": 20, "loss": 1.2345, "heldout/loss": 1.5, "tokens_per_s": 900.2, "seconds": 9.0}
    assert format_line(row, 400, 62.0, 100, "step") == (
        "step 20/400  loss 1.234  held out 1.500  900 tok/s  ETA 1 min 02 s"
    )
    pipe = io.StringIO()
    progress = Progress(400, pipe, unit="step")
    progress.row(row, is_told=False)
    progress.row(row | {"step": 21})
    assert pipe.getvalue().count("\n") == 1
    assert pipe.getvalue().startswith("step 21/400")


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
        progress.row({"generation": generation, "seconds": 1.0, "reward/mean": 0.0})
    progress.close()
    assert pipe.getvalue() == (
        "generation 1/3  reward +0.00\ngeneration 2/3  reward +0.00  ETA 0 s\n"
    )


def test_a_pipe_gets_no_escape_codes_whatever_is_forced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    pipe = io.StringIO()
    progress = Progress(40, pipe)
    progress.phase("sampling")
    progress.row(ROW)
    progress.note("The judge is back after 1 s. " * 20)
    progress.close()
    print_summary({"reward_first": 0.0, "reward_last": 1.0}, pipe)
    assert "\x1b" not in pipe.getvalue()
    assert pipe.getvalue().count("\n") == 5


def test_a_resumed_run_goes_on_counting():
    said = on_a_terminal("progress = Progress(40, done=6); progress.phase('sampling')")
    assert "generation 7/40" in said


def on_a_terminal(code: str, columns: int = 80, **environment: str) -> str:
    """All that this code writes to a terminal, escape codes included."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-c", f"import signal, sys\nfrom rl.run.progress import Progress\n{code}"],
        cwd=ROOT,
        env={**inherited, "TERM": "xterm-256color", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    while chunk := _read(ours):
        written += chunk
    os.close(ours)
    child.wait()
    return written.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # nobody holds the other end any more
        return b""


def screen(written: str) -> list[str]:
    """What is left to be seen of it."""
    lines, row, column = [""], 0, 0
    for count, command, text in re.findall(r"\x1b\[([\d?;]*)([A-Za-z])|([^\x1b])", written):
        match command, text:
            case "A", _:
                row -= int(count or 1)
            case "K", _:
                lines[row] = ""
            case _, "\r":
                column = 0
            case _, "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            case "", _:
                before, after = lines[row][:column].ljust(column), lines[row][column + 1 :]
                lines[row] = before + text + after
                column += 1
    return [line.rstrip() for line in lines]


LIVE = f"""
progress = Progress(40)
progress.phase("sampling and judging")
print("a library warns", file=sys.stderr)
progress.row({ROW})
progress.phase("updating")
"""
INTERRUPTED = f"""
try:
{textwrap.indent(LIVE, "    ")}
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    progress.close()
    print("interrupted")
"""


def test_a_terminal_shows_what_goes_on_and_keeps_only_what_is_done():
    said = on_a_terminal(LIVE + "progress.close()")
    assert "generation 1/40" in said
    assert "sampling and judging 0 s" in said
    assert "generation 8/40" in said
    assert "updating 0 s" in said
    left = [line for line in screen(said) if line]
    assert left == [
        "a library warns",
        "generation 7/40  reward +0.42 ±0.61  KL 0.0031  clip 14%  121 tok/s",
    ]


def test_an_interrupt_leaves_a_clean_terminal():
    said = on_a_terminal(INTERRUPTED)
    assert [line for line in screen(said) if line][-1] == "interrupted"
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")  # the cursor is shown again


def test_a_narrow_terminal_has_lines_that_fit():
    said = on_a_terminal(LIVE + "progress.close()", columns=44)
    assert max(map(len, screen(said))) <= 44
    assert "generation 7/40  reward +0.42 ±0.61" in screen(said)


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(environment: dict[str, str]):
    said = on_a_terminal(LIVE + "progress.close()", **environment)
    assert not re.search(r"\x1b\[(\d+;)*[34]\d", said)
    assert "generation 7/40" in said


def summary_of(figures: Mapping[str, object]) -> str:
    said = io.StringIO()
    print_summary(figures, said)
    return said.getvalue()


def test_the_closing_table_says_what_changed_where_it_is_and_what_next():
    table = summary_of(
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
            "evaluate": "runs/quickstart",
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
    assert "python -m experiments.evaluate runs/quickstart\n" in table
    assert "python -m experiments.quickstart --from runs/quickstart/config.json" in table


def test_the_closing_table_of_fine_tuning_has_losses_and_how_answers_end():
    table = summary_of(
        {
            "heldout_loss_before": 2.301,
            "heldout_loss_after": 2.06,
            "answers_before": {"ended_greedy": 0.25, "in_format_sampled": 0.0},
            "answers_after": {"ended_greedy": 1.0, "in_format_sampled": 0.95},
            "steps": 24,
            "folder": "runs/x",
            "gspo_flags": "--policy.adapter runs/x",
        }
    )
    lines = [line.split() for line in table.splitlines()]
    assert ["held-out", "loss", "2.301", "2.060", "-0.241"] in lines
    assert ["ended", "greedy", "25%", "100%", "+75", "%"] in lines
    assert ["in", "format", "sampled", "0%", "95%", "+95", "%"] in lines
    assert "GSPO from it: add to any experiment\n  --policy.adapter runs/x\n" in table
    assert "rollouts.jsonl" not in table


def test_a_run_cut_short_says_how_to_go_on_with_it(tmp_path):
    summary = {"folder": str(tmp_path), "experiment": "mine.py", "stopped": "interrupted"}
    assert f"mine.py --resume {tmp_path}\n" in summary_of(summary)
    assert f"mine.py --from {tmp_path}/config.json\n" in summary_of(summary | {"stopped": None})


def test_commands_are_those_of_this_environment(tmp_path, monkeypatch):
    summary = {"folder": "runs/x"}
    monkeypatch.chdir(tmp_path)
    for name in ("python", "wandb"):
        (tmp_path / ".venv/bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / ".venv/bin" / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python3"))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert "  .venv/bin/wandb leet runs/x/wandb\n" in summary_of(summary)
    monkeypatch.setenv("PATH", f"{tmp_path}/.venv/bin:/usr/bin")
    assert "  wandb leet runs/x/wandb\n" in summary_of(summary)


def test_the_table_of_a_run_cut_short_has_what_there_is():
    table = summary_of({"reward_first": 0.1, "heldout_before": 0.2, "seconds": 5.0})
    assert table.split() == ["time", "5", "s"]
