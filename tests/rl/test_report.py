"""The report: whole, harmless and self-contained, whatever the run holds."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rl.report import write_report
from rl.report.charts import Line, line_chart
from rl.report.digest import digest, tier_colours
from rl.runlog import RunLog, read_run

ROOT = Path(__file__).parents[2]
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
        if self._open[-1:] not in (["script"], ["style"]):
            self.texts.append(data)

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


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
        *("Sequence ratio", "Clipped", "Length", "Judge latency", "Sampling speed"),
        *("Where the time goes", "Best", "Worst", "Most improved", "Most worsened", "Settings"),
    ):
        assert title in headings
    assert page.count("svg") == 14
    assert page.unbalanced == []


def test_the_headline_is_that_of_the_summary(run_copy: Path):
    summary = read_run(run_copy).summary
    text = "".join(report(run_copy).texts)
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
    assert "Held-out answers judged “same”" in "".join(report(run_copy).texts)


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
    assert page.count("script") == 1
    assert page.tags() <= clean.tags()
    assert page.unbalanced == []
    attributes = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in attributes if name.startswith("on")]
    assert attributes <= {name for _, attributes in clean.elements for name in attributes}


def test_the_page_asks_for_nothing_and_lets_nothing_else_run(run_copy: Path):
    html = write_report(run_copy).read_text(encoding="utf-8")
    page = Page(html)
    attributes = {name for _, attributes in page.elements for name in attributes}
    assert not attributes & {"src", "href", "srcset", "action", "data", "xlink:href"}
    assert not re.search(r"url\(|@import|https?://", html)
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]


def test_a_run_of_one_generation_has_a_report(make_run, tmp_path: Path):
    page = report(make_run(tmp_path / "one", generations=1))
    assert page.count("svg") == 14
    assert page.count("circle") > 10


def test_a_run_cut_short_has_a_report_that_says_so(make_run, tmp_path: Path):
    text = "".join(report(make_run(tmp_path / "cut", generations=3, finished=False)).texts)
    assert "Not finished" in text
    assert "before training" in text


def test_a_run_that_stopped_says_why(run_copy: Path):
    RunLog(run_copy).summary({**read_run(run_copy).summary, "stopped": "interrupted"})
    assert "Not finished: interrupted." in report(run_copy).texts


def test_a_run_that_never_began_has_a_report(tmp_path: Path):
    RunLog(tmp_path).config({"seed": 1})
    page = report(tmp_path)
    assert page.count("svg") == 0
    assert "Settings" in page.texts


def test_metrics_that_were_not_measured_leave_no_chart(tmp_path: Path):
    log = RunLog(tmp_path)
    log.metrics({"generation": 1, "reward/mean": 0.1})
    log.metrics({"generation": 2, "entropy": 1.5})
    log.metrics({"generation": 3, "reward/mean": 0.3, "entropy": float("nan")})
    page = report(tmp_path)
    assert page.count("svg") == 2
    assert {"Reward", "Entropy"} <= set(page.texts)


def test_a_curve_is_broken_where_nothing_was_measured():
    nan = float("nan")
    line = Line(name="x", values=[1.0, 2.0, nan, 3.0, 2.0], colour="red")
    chart = Page(line_chart([1.0, 2.0, 3.0, 4.0, 5.0], [line], label="x"))
    path = next(a["d"] for tag, a in chart.elements if tag == "path")
    assert path is not None
    assert (path.count("M"), path.count("L")) == (2, 2)


def test_values_far_apart_are_drawn_on_a_logarithmic_scale():
    lines = [
        Line(name="far", values=[0.1, 1.0], colour="red"),
        Line(name="near", values=[1e-5, 1e-4], colour="blue"),
    ]
    chart = Page(line_chart([1.0, 2.0], lines, label="x"))
    heights = [float(a["cy"] or 0) for tag, a in chart.elements if tag == "circle"]
    decade_px = heights[0] - heights[1]
    assert heights[2] - heights[3] == pytest.approx(decade_px, abs=0.2)
    assert heights[2] - heights[0] == pytest.approx(4 * decade_px, abs=0.4)


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
    assert (found["right"], found["wrong"]) == ("var(--tier-4)", "var(--tier-0)")


def test_the_command_builds_the_report_again_and_refuses_what_is_no_run(run_copy: Path):
    command = [sys.executable, "-m", "rl.report"]
    done = subprocess.run([*command, run_copy], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{run_copy / 'report.html'}\n")
    assert json.loads((run_copy / "summary.json").read_text())
    refused = subprocess.run([*command, ROOT / "tests"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "is not a run folder" in refused.stderr
    assert refused.stderr.count("\n") == 1
