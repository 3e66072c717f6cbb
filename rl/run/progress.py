"""What a run says in the terminal: a line a row of metrics, what goes on now, tables at the end."""

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

# most wanted first: a narrow terminal drops from the end
FIELDS = ("reward", "loss", "heldout", "eta", "kl", "clip", "speed", "judge", "faults")
SHOWN_AS = ("reward", "loss", "heldout", "kl", "clip", "speed", "judge", "faults", "eta")

BAR_FROM_COLUMNS = 80


class Progress:
    """One line a generation or step. On a terminal, a live line under them says what goes on.

    `done` of them were done before, by the run that this one resumes.
    """

    def __init__(
        self,
        total: int,
        stream: TextIO | None = None,
        *,
        unit: str = "generation",
        done: int = 0,
    ) -> None:
        self._total, self._unit = total, unit
        self._done = done
        self._console = console_of(stream or sys.stderr)
        self._rows: list[Mapping[str, Any]] = []
        self._eta_s: float | None = None
        self._phase = self._detail = ""
        self._row_ended_s = self._phase_began_s = time.monotonic()
        self._spinner = Spinner("dots")
        self._live: Live | None = None

    def row(self, row: Mapping[str, Any], *, is_told: bool = True) -> None:
        """A generation or step is done; `row` is its line of metrics.jsonl."""
        self._rows.append(row)
        self._done = row[self._unit]
        self._eta_s = remaining_s(self._rows, self._total, self._unit)
        self._row_ended_s = time.monotonic()
        if is_told:
            self.note(format_line(row, self._total, self._eta_s, self._console.width, self._unit))

    def phase(self, what: str) -> None:
        """What the next generation or step is busy with. Only a live line shows it."""
        self._phase, self._phase_began_s = what, time.monotonic()
        self._detail = ""
        if self._console.is_interactive and not self._live:
            self._live = Live(
                get_renderable=self._status,
                console=self._console,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()
        if self._live:
            self._live.refresh()

    def detail(self, what: str) -> None:
        """How far the phase has come. Only a live line shows it."""
        self._detail = what

    def note(self, what: str) -> None:
        """Something to be read later too: it gets a line of its own."""
        self._console.print(what, soft_wrap=True)

    def close(self) -> None:
        """Take the live line away, and leave the terminal as it was."""
        if self._live:
            self._live.stop()
            self._live = None

    def _status(self) -> Table:
        now_s = time.monotonic()
        parts = [
            self._spinner,
            f"{self._unit} {min(self._done + 1, self._total)}/{self._total}",
            f"{self._phase} {duration(now_s - self._phase_began_s)}",
        ]
        if self._detail:
            parts.append(self._detail)
        if self._console.width >= BAR_FROM_COLUMNS:
            parts.insert(2, ProgressBar(self._total, self._done, width=20))
        if self._eta_s is not None:
            left_s = max(0.0, self._eta_s - (now_s - self._row_ended_s))
            parts.append(f"ETA {duration(left_s)}")
        line = Table.grid(padding=(0, 2, 0, 0))
        for _ in parts:
            line.add_column(no_wrap=True)
        line.add_row(*parts)
        return line


def console_of(stream: TextIO) -> Console:
    """Escape codes only on a terminal; elsewhere lines are as long as they are."""
    is_terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=is_terminal,
        force_jupyter=False,
        width=None if is_terminal else 200,
        highlight=False,
        markup=False,
        emoji=False,
    )


def format_line(
    row: Mapping[str, Any], total: int, eta_s: float | None, width: int, unit: str = "generation"
) -> str:
    """One generation or step in one line: what was not measured, or does not fit, is left out."""
    fields = {key: text for key in FIELDS if (text := _field(key, row, eta_s))}
    head = f"{unit} {row[unit]}/{total}"
    while fields:
        line = "  ".join([head, *(fields[key] for key in SHOWN_AS if key in fields)])
        if len(line) <= width:
            return line
        fields.popitem()
    return head[:width]


def _field(key: str, row: Mapping[str, Any], eta_s: float | None) -> str | None:
    def shown(name: str, form: str) -> str | None:
        return form.format(row[name]) if row.get(name) is not None else None

    match key:
        case "reward":
            spread = shown("reward/std", " ±{:.2f}") or ""
            mean = shown("reward/mean", "reward {:+.2f}")
            return mean and mean + spread
        case "loss":
            return shown("loss", "loss {:.3f}")
        case "heldout":
            return shown("heldout/loss", "held out {:.3f}")
        case "kl":
            return shown("kl/ref", "KL {:.4f}") or shown("kl/old", "KL old {:.5f}")
        case "clip":
            return shown("clip/seq", "clip {:.0%}")
        case "speed":
            return shown("rollout/tokens_per_s", "{:.0f} tok/s") or shown(
                "tokens_per_s", "{:.0f} tok/s"
            )
        case "judge":
            return shown("judge/p50_s", "judge {:.2f} s")
        case "faults":
            return shown("judge/faults", "faults {:.0f}") if row.get("judge/faults") else None
        case _:
            return None if eta_s is None else f"ETA {duration(eta_s)}"


def remaining_s(
    rows: Sequence[Mapping[str, Any]], total: int, unit: str = "generation"
) -> float | None:
    """From the pace of the last few rows: the first one also waits for the engine."""
    recent = rows[-6:]
    if len(recent) < 2:
        return None
    first, last = recent[0], recent[-1]
    pace_s = (last["seconds"] - first["seconds"]) / (last[unit] - first[unit])
    return max(0.0, pace_s * (total - last[unit]))


def duration(seconds: float) -> str:
    """As a person says it: 42 s, 3 min 05 s, 2 h 10 min."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    if hours:
        return f"{hours} h {rest_min:02d} min"
    return f"{minutes} min {rest_s:02d} s" if minutes else f"{rest_s} s"


def print_summary(summary: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """The tables at the end of a run. `folder` and `experiment` add where things are, what next."""
    console = console_of(stream or sys.stdout)
    changes = [
        *_change_row("held-out reward", summary, "heldout_before", "heldout_after"),
        *_change_row("training reward", summary, "reward_first", "reward_last"),
        *_share_rows(summary, "heldout_tiers_before", "heldout_tiers_after"),
        *_loss_row("held-out loss", summary, "heldout_loss_before", "heldout_loss_after"),
        *_loss_row("training loss", summary, "loss_first", "loss_last"),
        *_share_rows(summary, "answers_before", "answers_after"),
    ]
    facts = {
        "generations": summary.get("generations"),
        "optimizer steps": summary.get("steps"),
        "time": duration(summary["seconds"]) if "seconds" in summary else None,
        "judge faults": summary.get("judge_faults"),
        "judge cost": f"${usd:.4f}" if (usd := summary.get("judge_usd")) else None,
    }
    if changes:
        console.print(_table(("", "before", "after", "change"), changes), "")
    console.print(_table(("", ""), [(k, str(v)) for k, v in facts.items() if v is not None]))
    if folder := summary.get("folder"):
        console.print("", *_where(Path(folder), summary), sep="\n", soft_wrap=True)


Cells = tuple[str | Text, ...]


def _table(header: Sequence[str], rows: Sequence[Cells]) -> Table:
    """Names at the left, figures at the right."""
    table = Table(box=None, padding=0, show_header=any(header), header_style="none")
    for name in header:
        is_first = not table.columns
        table.add_column(
            name,
            justify="left" if is_first else "right",
            min_width=24 if is_first else 10,
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _change_row(name: str, summary: Mapping[str, Any], before: str, after: str) -> list[Cells]:
    if before not in summary or after not in summary:
        return []
    was, now = summary[before], summary[after]
    change = Text(f"{now - was:+.2f}", style="green" if now > was else "red" if now < was else "")
    return [(name, f"{was:+.2f}", f"{now:+.2f}", change)]


def _loss_row(name: str, summary: Mapping[str, Any], before: str, after: str) -> list[Cells]:
    if before not in summary or after not in summary:
        return []
    was, now = summary[before], summary[after]
    change = Text(f"{now - was:+.3f}", style="green" if now < was else "red" if now > was else "")
    return [(name, f"{was:.3f}", f"{now:.3f}", change)]


def _share_rows(summary: Mapping[str, Any], before: str, after: str) -> list[Cells]:
    was, now = summary.get(before), summary.get(after)
    if not was or not now:
        return []
    rows = [(tier, was.get(tier, 0.0), now.get(tier, 0.0)) for tier in dict.fromkeys([*now, *was])]
    return [
        (f"  {tier.replace('_', ' ')}", f"{a:.0%}", f"{b:.0%}", f"{100 * (b - a):+.0f} %")
        for tier, a, b in rows
    ]


def _where(folder: Path, summary: Mapping[str, Any]) -> list[str]:
    lines = [
        f"look at it       {folder}/report.html",
        *_rows(folder),
        "next",
        f"  {_to_type('wandb')} leet {folder}/wandb",
        f"  {_to_type('python')} -m rl.report {folder}",
    ]
    if evaluated := summary.get("evaluate"):
        lines.append(f"  {_to_type('python')} -m experiments.evaluate {evaluated}")
    if experiment := summary.get("experiment"):
        again = f"--resume {folder}" if summary.get("stopped") else f"--from {folder}/config.json"
        lines.append(f"  {_to_type('python')} {experiment} {again}")
    if gspo_flags := summary.get("gspo_flags"):
        lines += ["GSPO from it: add to any experiment", f"  {gspo_flags}"]
    return lines


def _rows(folder: Path) -> list[str]:
    places = {"every completion": "rollouts.jsonl", "the table       ": "table.md"}
    places["every score     "] = "scores"
    return [f"{what} {folder / at}" for what, at in places.items() if (folder / at).exists()]


def _to_type(command: str) -> str:
    """The one of this environment, by its name where the shell would find it by that."""
    ours = Path(sys.executable).with_name(command)
    if not ours.exists() or shutil.which(command) == str(ours):
        return command
    near = os.path.relpath(ours)
    return str(ours) if near.startswith("..") else near
