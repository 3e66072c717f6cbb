"""What a run says in the terminal: one live line, and a table at the end."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

# most wanted first: a narrow terminal drops from the end
FIELDS = ("reward", "eta", "kl", "clip", "speed", "judge", "faults")
SHOWN_AS = ("reward", "kl", "clip", "speed", "judge", "faults", "eta")


class Progress:
    """Rewrites one line on a terminal; elsewhere prints one line a generation."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._rows: list[Mapping[str, Any]] = []
        self._line = ""

    def generation(self, row: Mapping[str, Any]) -> None:
        """A generation is done; `row` is its line of metrics.jsonl."""
        self._rows.append(row)
        eta_s = remaining_s(self._rows, self._total)
        self._line = format_line(row, self._total, eta_s, self._width())
        self._write(self._line)

    def phase(self, what: str) -> None:
        """What the next generation is busy with. Only a live line shows it."""
        if self._live:
            done = self._rows[-1]["generation"] if self._rows else 0
            head = f"generation {done + 1}/{self._total}  {what}"
            rest = self._line.partition("  ")[2]
            self._write(f"{head}  | last: {rest}" if rest else head)

    def note(self, what: str) -> None:
        """Something to be read later too: it gets a line of its own."""
        self._stream.write(f"\r\x1b[2K{what}\n" if self._live else what + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._live and self._line:
            self._stream.write("\n")
            self._stream.flush()

    def _width(self) -> int:
        if not self._live:
            return 200
        return (os.get_terminal_size(self._stream.fileno()).columns or 80) - 1

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[2K{line[: self._width()]}" if self._live else line + "\n")
        self._stream.flush()


def format_line(row: Mapping[str, Any], total: int, eta_s: float | None, width: int) -> str:
    """One generation in one line: what was not measured, or does not fit, is left out."""
    fields = {key: text for key in FIELDS if (text := _field(key, row, eta_s))}
    head = f"generation {row['generation']}/{total}"
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
        case "kl":
            return shown("kl/ref", "KL {:.4f}") or shown("kl/old", "KL old {:.5f}")
        case "clip":
            return shown("clip/seq", "clip {:.0%}")
        case "speed":
            return shown("rollout/tokens_per_s", "{:.0f} tok/s")
        case "judge":
            return shown("judge/p50_s", "judge {:.2f} s")
        case "faults":
            return shown("judge/faults", "faults {:.0f}") if row.get("judge/faults") else None
        case _:
            return None if eta_s is None else f"ETA {duration(eta_s)}"


def remaining_s(rows: Sequence[Mapping[str, Any]], total: int) -> float | None:
    """From the pace of the last few generations: the first one also waits for the engine."""
    recent = rows[-6:]
    if len(recent) < 2:
        return None
    first, last = recent[0], recent[-1]
    pace_s = (last["seconds"] - first["seconds"]) / (last["generation"] - first["generation"])
    return max(0.0, pace_s * (total - last["generation"]))


def duration(seconds: float) -> str:
    """As a person says it: 42 s, 3 min 05 s, 2 h 10 min."""
    minutes, rest_s = divmod(round(seconds), 60)
    hours, rest_min = divmod(minutes, 60)
    if hours:
        return f"{hours} h {rest_min:02d} min"
    return f"{minutes} min {rest_s:02d} s" if minutes else f"{rest_s} s"


def format_summary(summary: Mapping[str, Any]) -> str:
    """The table at the end of a run. `folder` and `experiment` add where things are, what next."""
    lines = [f"{'':24}{'before':>10}{'after':>10}{'change':>10}"]
    lines += _change_row("held-out reward", summary, "heldout_before", "heldout_after")
    lines += _change_row("training reward", summary, "reward_first", "reward_last")
    lines += _tier_rows(summary)
    facts = {
        "generations": summary.get("generations"),
        "optimizer steps": summary.get("steps"),
        "time": duration(summary["seconds"]) if "seconds" in summary else None,
        "judge faults": summary.get("judge_faults"),
        "judge cost": f"${usd:.4f}" if (usd := summary.get("judge_usd")) else None,
    }
    lines += [""] + [
        f"{name:24}{value!s:>10}" for name, value in facts.items() if value is not None
    ]
    if folder := summary.get("folder"):
        lines += ["", *_where(Path(folder), summary)]
    return "\n".join(lines)


def _change_row(name: str, summary: Mapping[str, Any], before: str, after: str) -> list[str]:
    if before not in summary or after not in summary:
        return []
    was, now = summary[before], summary[after]
    return [f"{name:24}{was:>+10.2f}{now:>+10.2f}{now - was:>+10.2f}"]


def _tier_rows(summary: Mapping[str, Any]) -> list[str]:
    was, now = summary.get("heldout_tiers_before"), summary.get("heldout_tiers_after")
    if not was or not now:
        return []
    rows = [(tier, was.get(tier, 0.0), now.get(tier, 0.0)) for tier in dict.fromkeys([*now, *was])]
    return [f"  {tier:22}{a:>10.0%}{b:>10.0%}{100 * (b - a):>+8.0f} %" for tier, a, b in rows]


def _where(folder: Path, summary: Mapping[str, Any]) -> list[str]:
    lines = [
        f"look at it       {folder}/report.html",
        f"every completion {folder}/rollouts.jsonl",
        "next",
        f"  {_to_type('wandb')} leet {folder}/wandb",
        f"  {_to_type('python')} -m rl.report {folder}",
    ]
    if experiment := summary.get("experiment"):
        again = f"  {_to_type('python')} {experiment} --from {folder}/config.json"
        if summary.get("stopped") and (ledger := folder / "judge.sqlite").is_file():
            again += f" --judge.ledger {ledger}  # what was judged is not paid for again"
        lines.append(again)
    return lines


def _to_type(command: str) -> str:
    """The one of this environment, by its name where the shell would find it by that."""
    ours = Path(sys.executable).with_name(command)
    if not ours.exists() or shutil.which(command) == str(ours):
        return command
    near = os.path.relpath(ours)
    return str(ours) if near.startswith("..") else near
