"""The only file that knows W&B. Training goes on whatever happens here.

The run folder is the record; this is a copy for looking at. Not used: TRL's own W&B callback (it
logs many rows a step), Weave (no offline mode), console capture (the live line would fill it).
"""

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

TrackingMode = Literal["auto", "online", "offline", "disabled"]

ROLLOUTS_A_GENERATION = 8
CELL_CHARS = 2000
COLUMNS = (
    *("generation", "id", "question", "truth", "reasoning", "answer"),
    *("tier", "reward", "advantage", "rationale", "status", "n_tokens"),
)
ONLINE_WAIT_S = 30.0


class Tracker:
    """A W&B run that belongs to a run folder: opened again with the same folder, it continues."""

    def __init__(
        self,
        folder: Path,
        *,
        config: Mapping[str, Any],
        project: str,
        name: str,
        mode: TrackingMode = "auto",
        unit: str = "generation",
    ) -> None:
        self._unit = unit
        self._run: Any = None
        self._rollouts: Any = None
        try:
            self._run = _open_run(folder, mode, project=project, name=name, config=dict(config))
        except Exception as error:
            _warn(f"W&B cannot be used ({_first_line(error)}); the run goes on without it.")
        self._attempt(self._lay_out)

    def log(self, row: Mapping[str, Any]) -> None:
        """One generation or step: the row that also goes into metrics.jsonl."""
        self._attempt(lambda run: run.log(dict(row)))

    def log_rollouts(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """A few completions of one generation, from the best to the worst reward."""
        shown = spread_sample(rows, ROLLOUTS_A_GENERATION)

        def add(run: Any) -> None:
            for row in shown:
                self._rollouts.add_data(*(_cell(row.get(name)) for name in COLUMNS))
            run.log({"rollouts": self._rollouts, "generation": shown[0]["generation"]})

        if shown:
            self._attempt(add)

    def log_figures(self, figures: Iterable[tuple[str, Any]]) -> None:
        """The report's figures by their titles, as they stand at the end of the run."""

        def add(run: Any) -> None:
            import wandb

            run.log({f"report/{title}": wandb.Plotly(figure) for title, figure in figures})

        self._attempt(add)

    def log_table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        def add(run: Any) -> None:
            import wandb

            run.log({name: wandb.Table(columns=list(header), data=[list(row) for row in rows])})

        self._attempt(add)

    def alert(self, title: str, text: str) -> None:
        self._attempt(lambda run: run.alert(title=title, text=text, level="WARN"))

    def finish(self, summary: Mapping[str, Any] | None = None, *, failed: bool = False) -> None:
        def close(run: Any) -> None:
            run.summary.update(dict(summary or {}))
            run.finish(exit_code=int(failed))

        self._attempt(close)
        self._run = None

    def _lay_out(self, run: Any) -> None:
        """Every curve over what the run counts in: W&B's own step counts calls of `log`."""
        import wandb

        run.define_metric(self._unit, hidden=True)
        run.define_metric("*", step_metric=self._unit)
        run.define_metric("reward/mean", step_metric=self._unit, summary="max,last")
        run.define_metric("heldout/loss", step_metric=self._unit, summary="min,last")
        self._rollouts = wandb.Table(columns=list(COLUMNS), log_mode="INCREMENTAL")

    def _attempt(self, act: Callable[[Any], None]) -> None:
        """Whatever goes wrong in W&B is told once, and ends the tracking, not the run."""
        if self._run is None:
            return
        try:
            act(self._run)
        except Exception as error:
            self._run = None
            _warn(f"W&B failed ({_first_line(error)}); the run goes on without it.")


def _open_run(folder: Path, mode: TrackingMode, **named: Any) -> Any:
    """Online where a key is configured, else offline; None where disabled. Nobody is asked."""
    asked = os.environ.get("WANDB_MODE") if mode == "auto" else mode
    if asked == "disabled":
        return None
    os.environ.setdefault("WANDB_DISABLE_WEAVE", "1")  # where installed, it would ask for a key
    import wandb

    settings = wandb.Settings(console="off", silent=True, init_timeout=ONLINE_WAIT_S)
    named |= {
        "dir": str(folder.resolve()),
        "id": _run_id(folder),
        "resume": "allow",
        "settings": settings,
    }
    if asked != "offline":
        try:
            if wandb.login(prompt=False):
                return wandb.init(mode="online", **named)
            if asked == "online":
                _warn("No W&B key is configured; this run is tracked offline. Set WANDB_API_KEY.")
        except Exception as error:  # a wrong key, no network, a project one may not write to
            _warn(f"W&B cannot be reached ({_first_line(error)}); this run is tracked offline.")
    return wandb.init(mode="offline", **named)


def _run_id(folder: Path) -> str:
    """The run's W&B id, kept in its folder so that a resumed run continues the same curves."""
    path = folder / "wandb_id.txt"
    if not path.is_file():
        path.write_text(secrets.token_hex(4) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def spread_sample(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Evenly spaced from the best reward to the worst; judge faults come last."""
    rewards = [(row.get("reward") is None, -(row.get("reward") or 0.0)) for row in rows]
    ranked = [rows[place] for place in sorted(range(len(rows)), key=rewards.__getitem__)]
    if len(ranked) <= count:
        return ranked
    return [ranked[place * (len(ranked) - 1) // (count - 1)] for place in range(count)]


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float) else str(value)[:CELL_CHARS]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _warn(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
