"""The report: whole, harmless and self-contained, whatever the run holds."""

import base64
import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rl.report import report_figures, write_report
from rl.report.digest import digest
from rl.report.figures import Line, line_chart, smoothed, stack_chart
from rl.report.page import page as page_of
from rl.report.palette import DARK_TWINS, PALETTE, tier_colours
from rl.report.panels import Panel, Record, Said, Section, Table, read_record
from rl.run.folder import RunLog, read_run

ROOT = Path(__file__).parents[2]
NAN = float("nan")
HOSTILE = (
    "</dd></script><script>alert(1)</script><img src=x onerror=alert(1)>"
    "<svg/onload=alert(1)>\"' onmouseover=\"alert(1)\"&lt;style>@import 'http://x'</style>"
)


class Page(HTMLParser):
    """What a browser would make of it: elements with their attributes, and text by element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._open[-1:] != ["style"]:
            self.texts.append(data)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def figures(self) -> dict[str, dict]:
        """Those that the page carries for its script to draw, by title."""
        boxes = [attributes for _, attributes in self.elements if "data-figure" in attributes]
        return {str(box["aria-label"]): json.loads(box["data-figure"] or "") for box in boxes}


@pytest.fixture
def run_copy(recorded_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(recorded_run, tmp_path / "quickstart")


def report(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_a_finished_run_has_every_section(run_copy: Path):
    page = report(run_copy)
    headings = " | ".join(page.texts)
    for title in (
        *("Held-out reward", "Training reward", "Judge faults", "Reward", "Tiers", "KL"),
        *(
            "Sequence ratio",
            "Ratios by size",
            "Clipped",
            "Length",
            "Judge latency",
            "Sampling speed",
        ),
        *("Where the time goes", "Best", "Worst", "Most improved", "Most worsened", "Settings"),
    ):
        assert title in headings
    assert len(page.figures()) == 17
    assert page.count("table") == 4
    assert page.unbalanced == []


def test_the_headline_is_that_of_the_summary(run_copy: Path):
    summary = read_run(run_copy).summary
    text = report(run_copy).text()
    assert f"{summary['heldout_before']:+.2f} → {summary['heldout_after']:+.2f}" in text
    assert f"{summary['reward_first']:+.2f} → {summary['reward_last']:+.2f}" in text


def test_the_best_tier_is_known_also_where_only_held_out_answers_reached_it(run_copy: Path):
    for name in ("rollouts.jsonl", "heldout_before.jsonl", "heldout_after.jsonl"):
        (run_copy / name).write_text("")
    log = RunLog(run_copy)
    log.rollouts([{"generation": 1, "id": "a", "tier": "off_domain", "reward": 0.0}])
    for moment in ("before", "after"):
        log.heldout(moment, [{"id": "b", "tier": "same", "reward": 2.0}])
    (run_copy / "summary.json").unlink()
    assert "Held-out answers judged “same”" in report(run_copy).text()


def test_a_hostile_completion_stays_text(run_copy: Path):
    clean = report(run_copy)
    log = RunLog(run_copy)
    row = dict.fromkeys(
        ("id", "question", "truth", "reasoning", "answer", "tier", "rationale"), HOSTILE
    )
    log.rollouts([{"generation": 99, "reward": reward, **row} for reward in (9.0, -9.0)])
    log.heldout("before", [{**row, "reward": -1.0}])
    log.heldout("after", [{**row, "reward": 2.0}])
    log.metrics({"generation": 25, "reward/mean": 0.0, f"tier/{HOSTILE}": 1.0})
    log.config({HOSTILE: HOSTILE})
    page = report(run_copy)
    assert page.texts.count(HOSTILE) > 10
    assert page.count("script") == 2
    assert page.scripts == clean.scripts
    assert page.tags() <= clean.tags()
    assert page.unbalanced == []
    drawn = json.dumps(page.figures())
    assert "alert(1)" in drawn
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert max(len(trace["name"]) for trace in page.figures()["Tiers"]["data"]) < 100
    attributes = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in attributes if name.startswith("on")]
    assert attributes <= {name for _, attributes in clean.elements for name in attributes}


def test_the_page_asks_for_nothing_and_lets_nothing_else_run(run_copy: Path):
    html = write_report(run_copy).read_text(encoding="utf-8")
    page = Page(html)
    attributes = {name for _, attributes in page.elements for name in attributes}
    assert not attributes & {"src", "href", "srcset", "action", "data", "xlink:href"}
    ours = html.replace(page.scripts[0], "")
    assert not re.search(r"url\(|@import|https?://", ours)
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    allowed = re.findall(r"'sha256-([^']+)'", policy.partition("script-src")[2])
    digests = [hashlib.sha256(script.encode()).digest() for script in page.scripts]
    assert allowed == [base64.b64encode(digest).decode() for digest in digests]
    assert "unsafe" not in policy.partition("script-src")[2]


def test_a_run_of_one_generation_has_a_report(make_run, tmp_path: Path):
    figures = report(make_run(tmp_path / "one", generations=1)).figures()
    assert len(figures) == 17
    assert {trace["type"] for trace in figures["Where the time goes"]["data"]} == {"bar"}
    assert {trace["mode"] for trace in figures["KL"]["data"]} == {"lines+markers"}


def test_a_run_cut_short_has_a_report_that_says_so(make_run, tmp_path: Path):
    text = report(make_run(tmp_path / "cut", generations=3, finished=False)).text()
    assert "Not finished" in text
    assert "before training" in text


def test_a_run_that_stopped_says_why(run_copy: Path):
    RunLog(run_copy).summary({**read_run(run_copy).summary, "stopped": "interrupted"})
    assert "Not finished: interrupted." in report(run_copy).texts


def test_a_run_that_never_began_has_a_report(tmp_path: Path):
    RunLog(tmp_path).config({"seed": 1})
    page = report(tmp_path)
    assert page.figures() == {}
    assert "Settings" in page.texts


def test_metrics_that_were_not_measured_leave_no_chart(tmp_path: Path):
    log = RunLog(tmp_path)
    log.metrics({"generation": 1, "reward/mean": 0.1})
    log.metrics({"generation": 2, "entropy": 1.5})
    log.metrics({"generation": 3, "reward/mean": 0.3, "entropy": float("nan")})
    page = report(tmp_path)
    assert page.figures().keys() == {"Reward", "Entropy"}
    assert {"Reward", "Entropy"} <= set(page.texts)


def test_a_judge_that_costs_nothing_has_no_chart_of_its_cost(tmp_path: Path):
    log = RunLog(tmp_path)
    log.metrics({"generation": 1, "judge/usd": 0.0, "judge/faults": 0})
    assert report(tmp_path).figures().keys() == {"Judge faults"}
    log.metrics({"generation": 2, "judge/usd": 0.01})
    assert report(tmp_path).figures().keys() == {"Judge faults", "Judge cost"}


def test_a_curve_is_broken_where_nothing_was_measured():
    line = Line(name="x", values=[1.0, NAN, 3.0], colour="red", band=([0.0, 0.0, NAN], [2.0] * 3))
    band, curve = line_chart([1.0, 2.0, 3.0], [line]).data
    assert curve.y == (1.0, None, 3.0)
    assert not curve.connectgaps
    assert (band.x, band.y) == ((1.0, 2.0, 2.0, 1.0), (2.0, 2.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1e-5, 1.0], "log"),
        ([0.0, 1e-5, 1.0], "log"),  # a zero has no place on it and is left out
        ([-1e-5, 1e-5, 1.0], None),
        ([0.1, 1.0], None),
        ([0.0, 0.0], None),
    ],
)
def test_values_far_apart_are_drawn_on_a_logarithmic_scale(values, scale):
    lines = [Line(name="x", values=values, colour="red")]
    generations = [float(n) for n in range(len(values))]
    assert line_chart(generations, lines, log_if_wide=True).layout.yaxis.type == scale
    assert line_chart(generations, lines).layout.yaxis.type is None


def test_a_logarithmic_scale_has_five_decades_at_most():
    lines = [Line(name="x", values=[1e-12, 1e-3, 1.0], colour="red")]
    low, high = line_chart([1.0, 2.0, 3.0], lines, log_if_wide=True).layout.yaxis.range
    assert low == pytest.approx(-5, abs=0.3)
    assert high == pytest.approx(0, abs=0.3)


def test_a_long_run_is_smoothed_and_what_was_measured_stays_behind_it():
    values = [float(n % 2) for n in range(100)]
    generations = [float(n) for n in range(100)]
    behind, curve = line_chart(generations, [Line(name="x", values=values, colour="blue")]).data
    assert list(behind.y) == values
    assert behind.hoverinfo == "skip"
    assert max(curve.y[10:-10]) - min(curve.y[10:-10]) < 0.25
    assert (curve.y[0], curve.y[-1]) == (values[0], values[-1])


def test_smoothing_neither_fills_gaps_nor_moves_a_slope():
    assert smoothed([1.0, 2.0, 3.0, 4.0, 5.0], 3) == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0])
    assert smoothed([0.0, 3.0, 0.0, NAN, 4.0], 3)[:3] == [0.0, 1.0, 1.5]
    assert math.isnan(smoothed([0.0, 3.0, 0.0, NAN, 4.0], 3)[3])


def test_a_pile_counts_what_is_missing_as_nothing():
    layers = [
        Line(name="a", values=[0.5, NAN], colour="red"),
        Line(name="b", values=[0.5, 1.0], colour="blue"),
    ]
    below, above = stack_chart([1.0, 2.0], layers).data
    assert (below.y, above.y) == ((0.5, 0.0), (0.5, 1.0))
    assert below.stackgroup == above.stackgroup


def test_every_colour_of_a_figure_has_its_twin_on_a_dark_screen(recorded_run: Path):
    lights = [light for light, _ in PALETTE.values()]
    assert len(set(lights)) == len(lights)
    used = set(re.findall(r"#[0-9a-f]{6,8}", json.dumps(report(recorded_run).figures())))
    assert len(used) > 10
    assert used <= DARK_TWINS.keys()


def test_a_stage_adds_its_panels_and_what_it_did_not_measure_is_left_out(run_copy: Path):
    def loss(record: Record):
        values = [float(len(record.run.metrics)), 1.0]
        return line_chart([1.0, 2.0], [Line(name="loss", values=values, colour="blue")])

    table = Table(("task", "accuracy"), [(Said("medqa"), Said("41.2 %", note="38.5 to 43.9"))])
    sections = [
        Section("A stage", [Panel("Loss", "Falls.", loss), Panel("None", "", lambda _: None)]),
        Section("Tasks", [Panel("Accuracy", "With its interval.", lambda _: table)]),
        Section("Nothing", [Panel("None", "", lambda _: None)]),
    ]
    page = Page(page_of(read_record(run_copy), sections))
    assert page.figures().keys() == {"Loss"}
    assert page.figures()["Loss"]["data"][0]["y"] == [24.0, 1.0]
    assert {"A stage", "Loss", "Falls.", "Tasks", "medqa", "38.5 to 43.9"} <= set(page.texts)
    assert not {"None", "Nothing"} & set(page.texts)


def test_best_and_worst_show_each_question_once_and_the_latest_first():
    rows = [
        {"id": id_, "answer": f"{id_}{generation}", "reward": reward, "generation": generation}
        for generation in (1, 2)
        for id_, reward in (("a", 2.0), ("b", 0.5), ("c", -1.0), ("d", None))
    ]
    found = digest([{"tier": "t", **row} for row in rows])
    assert [row["answer"] for row in found.best] == ["a2", "b2", "c2"]
    assert [row["answer"] for row in found.worst] == ["c2", "b2", "a2"]
    assert found.count == 8


def test_tiers_are_coloured_by_score_then_gates_then_faults():
    scores = {"wrong": -1.0, "right": 2.0, "half": 0.5}
    found = tier_colours(["fault", "half", "empty", "wrong"], scores)
    assert list(found) == ["right", "half", "wrong", "empty", "fault"]
    assert (found["right"], found["wrong"]) == ("tier-4", "tier-0")


def test_the_command_builds_the_report_again_and_refuses_what_is_no_run(run_copy: Path):
    command = [sys.executable, "-m", "rl.report"]
    done = subprocess.run([*command, run_copy], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{run_copy / 'report.html'}\n")
    assert json.loads((run_copy / "summary.json").read_text())
    refused = subprocess.run([*command, ROOT / "tests"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "is not a run folder" in refused.stderr
    assert refused.stderr.count("\n") == 1


REPORT_AND_TELL = """
import sys
import rl.report, rl.run.progress, rl.run.summary, rl.run.tracking
print(sorted({"plotly", "jinja2", "scipy", "wandb"} & set(sys.modules)))
from rl.report.__main__ import main
main(sys.argv[1:])
print(sorted({"torch", "trl", "transformers", "wandb", "matplotlib"} & set(sys.modules)))
"""


def test_a_report_needs_neither_torch_nor_trl_and_drawing_begins_when_it_is_asked_for(
    run_copy: Path,
):
    command = [sys.executable, "-c", REPORT_AND_TELL, run_copy]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", str(run_copy / "report.html"), "[]"]


def test_what_was_asked_of_held_out_questions_on_the_way_is_drawn(recorded_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recorded_run, folder)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows[11]["heldout/reward"] = 0.625
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reward = dict(report_figures(folder))["Reward"]
    (asked,) = [line for line in reward.data if (line.name or "").startswith("held-out")]
    assert list(asked.x) == [0, 12, 24]
    assert asked.y[1] == 0.625


def test_ratios_are_drawn_by_their_size_as_shares_of_each_generation(recorded_run: Path):
    rows = [json.loads(line) for line in (recorded_run / "metrics.jsonl").read_text().splitlines()]
    counts = [row["ratio/histogram"] for row in rows]
    (heat,) = dict(report_figures(recorded_run))["Ratios by size"].data
    assert list(heat.x) == [row["generation"] for row in rows]
    drawn = list(zip(*heat.z, strict=True))
    assert drawn == [
        pytest.approx(tuple(count / sum(of_row) for count in of_row)) for of_row in counts
    ]
    assert sum(drawn[0]) == pytest.approx(1)


def test_what_was_published_of_such_a_run_is_drawn_behind_its_curves(run_copy: Path):
    plain = dict(report_figures(run_copy))
    config = json.loads((run_copy / "config.json").read_text())
    config["published"] = {"reward": [0.57, 0.89], "kl": 0.5}
    (run_copy / "config.json").write_text(json.dumps(config))
    held = dict(report_figures(run_copy))
    for title, values in {"Reward": {0.57, 0.89}, "KL": {0.5}}.items():
        added = held[title].data[len(plain[title].data) :]
        assert {y for trace in added for y in trace.y} == values
        assert any("published" in (trace.name or "") for trace in added)
