"""W&B runs, written by the real library and read back from its own file."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rl.report import report_figures
from rl.run.folder import read_run
from rl.run.tracking import ROLLOUTS_A_GENERATION, Tracker, spread_sample

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CONFIG = {"gspo": {"learning_rate": 2e-4}}


def records(folder: Path) -> list[dict]:
    """Every record of the newest W&B file in the folder."""
    newest = max(folder.glob("wandb/*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(newest)]
    shown = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in shown.splitlines()]


def of_type(kind: str, all_records: list[dict]) -> list[dict]:
    return [record[kind] for record in all_records if record["type"] == kind]


def tracker_in(folder: Path, mode: str = "offline") -> Tracker:
    return Tracker(folder, config=CONFIG, project="medical", name="quickstart", mode=mode)  # type: ignore[arg-type]


def test_a_run_is_written_as_it_is_meant_to_be_seen(tmp_path: Path):
    tracker = tracker_in(tmp_path)
    for generation in (1, 2):
        tracker.log({"generation": generation, "reward/mean": generation / 2, "tier/same": 0.5})
        rows = [
            {"generation": generation, "id": str(n), "answer": "<b>" * 2000, "reward": float(n)}
            for n in range(40)
        ]
        tracker.log_rollouts(rows)
    tracker.alert("The judge is down", "No verdict for 60 s.")
    tracker.finish({"heldout_after": 1.25, "heldout_tiers_after": {"same": 0.5}})
    seen = records(tmp_path)

    run = of_type("run", seen)[0]
    assert (run["project"], run["display_name"]) == ("medical", "quickstart")
    assert run["config"]["update"]["gspo"] == {"learning_rate": 2e-4}
    assert {"glob_name": "*", "step_metric": "generation"}.items() <= next(
        metric for metric in of_type("metric", seen) if "glob_name" in metric
    ).items()
    history = [row["item"] for row in of_type("history", seen)]
    rewards = [(row["generation"], row["reward/mean"]) for row in history if "reward/mean" in row]
    assert rewards == [(1, 0.5), (2, 1.0)]
    assert of_type("alert", seen)[0]["title"] == "The judge is down"
    summaries = [one.get("update", {}) for one in of_type("summary", seen)]
    assert any(one.get("heldout_after") == 1.25 for one in summaries)
    assert of_type("exit", seen)[0].get("exit_code", 0) == 0

    tables = sorted(tmp_path.glob("wandb/*/files/media/table/*.json"))
    logged = [json.loads(path.read_text()) for path in tables]
    shown = {tuple(row) for table in logged for row in table["data"]}
    assert len(shown) == 2 * ROLLOUTS_A_GENERATION
    assert max(len(str(cell)) for row in shown for cell in row) == 2000


def test_the_reports_figures_are_those_of_the_page(tmp_path: Path, recorded_run: Path):
    tracker = tracker_in(tmp_path)
    for row in read_run(recorded_run).metrics:
        tracker.log(row)
    tracker.log_figures(report_figures(recorded_run))
    tracker.finish()
    logged = {
        key.removeprefix("report/").removesuffix(".path"): path
        for row in of_type("history", records(tmp_path))
        for key, path in row["item"].items()
        if key.startswith("report/") and key.endswith(".path")
    }
    files = next(tmp_path.glob("wandb/*/files"))
    for title, figure in report_figures(recorded_run):
        assert json.loads((files / logged.pop(title)).read_text()) == json.loads(figure.to_json())
    assert logged == {}


def test_a_figure_that_cannot_be_drawn_is_told_and_the_run_goes_on(tmp_path: Path, capsys):
    tracker = tracker_in(tmp_path)
    tracker.log_figures(report_figures(tmp_path / "no run"))
    tracker.finish()
    assert "is not a run folder" in capsys.readouterr().err


def test_a_run_opened_again_in_its_folder_is_the_same_run(tmp_path: Path):
    for generation in (1, 2):
        tracker = tracker_in(tmp_path)
        tracker.log({"generation": generation})
        tracker.finish()
    ids = {path.stem for path in tmp_path.glob("wandb/*/*.wandb")}
    assert ids == {f"run-{(tmp_path / 'wandb_id.txt').read_text().strip()}"}
    history = [row["item"]["generation"] for row in of_type("history", records(tmp_path))]
    assert history == [2]


TRACK_ONE_ROW = """
import sys
from pathlib import Path
from rl.run.tracking import Tracker
tracker = Tracker(Path(sys.argv[1]), config={}, project="medical", name="run", mode=sys.argv[2])
tracker.log({"generation": 1})
tracker.finish()
"""


def track_in_fresh_process(folder: Path, mode: str, **environment: str) -> str:
    """What it says; W&B reads its environment once, so each setting needs a process."""
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"}
    home = {"HOME": str(folder)}  # where a key might be kept
    done = subprocess.run(
        [sys.executable, "-c", TRACK_ONE_ROW, folder, mode],
        cwd=ROOT,
        env={**inherited, **home, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_without_a_key_a_run_is_offline_and_nobody_is_asked(tmp_path: Path):
    assert track_in_fresh_process(tmp_path, "auto") == ""
    assert of_type("history", records(tmp_path))


def test_online_without_a_key_says_which_variable_to_set(tmp_path: Path):
    assert "Set WANDB_API_KEY." in track_in_fresh_process(tmp_path, "online")
    assert of_type("history", records(tmp_path))


def test_a_mode_from_the_environment_counts_where_none_is_configured(tmp_path: Path):
    assert track_in_fresh_process(tmp_path, "auto", WANDB_MODE="disabled") == ""
    assert list(tmp_path.iterdir()) == []


def test_a_refused_key_is_told_once_and_the_run_is_kept_offline(tmp_path: Path, refusing_url):
    said = track_in_fresh_process(
        tmp_path, "auto", WANDB_BASE_URL=refusing_url, WANDB_API_KEY="x" * 40
    )
    assert said.count("W&B cannot be reached") == 1
    assert "xxxx" not in said
    assert of_type("history", records(tmp_path))


def test_a_failure_under_way_is_told_once_and_the_run_goes_on(tmp_path: Path, capsys):
    tracker = tracker_in(tmp_path)
    tracker._run.finish()  # whatever closes it behind our back
    tracker.log({"generation": 1})
    tracker.log({"generation": 2})
    tracker.log_rollouts([{"generation": 2}])
    tracker.alert("title", "text")
    tracker.finish({"steps": 2})
    said = capsys.readouterr().err
    assert re.fullmatch(r"W&B failed .* the run goes on without it\.\n", said)


def test_a_run_that_is_not_tracked_leaves_nothing_and_says_nothing(tmp_path: Path, capsys):
    tracker = tracker_in(tmp_path, "disabled")
    tracker.log({"generation": 1})
    tracker.log_rollouts([{"generation": 1, "reward": 1.0}])
    tracker.finish({"steps": 1})
    assert capsys.readouterr().err == ""
    assert list(tmp_path.iterdir()) == []


def test_the_shown_completions_run_from_best_to_worst_and_faults_come_last():
    rows = [{"reward": reward} for reward in (None, -1.0, 2.0, 0.5, 0.0, 2.0)]
    assert [row["reward"] for row in spread_sample(rows, 3)] == [2.0, 0.5, None]
    assert [row["reward"] for row in spread_sample(rows, 9)] == [2.0, 2.0, 0.5, 0.0, -1.0, None]
