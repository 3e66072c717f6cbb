"""The report of a run of fine-tuning: its own panels, over steps."""

import math

import pytest

from rl.report import report_figures, write_report
from rl.run.folder import RunLog, read_run
from rl.run.summary import summarise


@pytest.fixture
def folder(tmp_path):
    log = RunLog(tmp_path, "step")
    log.config({"kind": "sft", "sft": {"learning_rate": 2e-4}})
    log.metrics({"step": 0, "heldout/loss": 3.0})
    for step in range(1, 9):
        row = {"step": step, "loss": 3.0 - step / 10, "lr": 1e-4, "grad_norm": 1.0}
        log.metrics(row | ({"heldout/loss": 2.5} if step == 8 else {}))
    answer = {"id": "a", "how": "greedy", "question": "Why?", "truth": "So.", "reasoning": ""}
    answer |= {"status": "ok", "n_tokens": 3}
    log.heldout("before", [answer | {"answer": "<script>", "ended": False}])
    log.heldout("after", [answer | {"answer": "Because.", "ended": True}])
    run = read_run(tmp_path)
    lengths = {"up to 64": 0.75, "up to 128": 0.25}
    figures = summarise(run.metrics, run.heldout_before, run.heldout_after)
    log.summary(figures | {"lengths": lengths, "stopped": None})
    return tmp_path


def test_its_curves_are_over_steps_and_the_held_out_loss_is_where_it_was_measured(folder):
    drawn = dict(report_figures(folder))
    assert [*drawn] == ["Loss", "Learning rate", "Gradient norm", "Length"]
    loss = drawn["Loss"]
    assert loss.layout.xaxis.title.text == "step"
    training, heldout = loss.data
    assert training.y[0] is None
    assert list(training.x) == list(range(9))
    assert (list(heldout.x), list(heldout.y)) == ([0, 8], [3.0, 2.5])
    assert [bar.x[0] for bar in drawn["Length"].data] == [0.75, 0.25]


def test_its_page_says_what_changed_and_shows_answers_as_text(folder):
    page = write_report(folder).read_text()
    for words in ("Held-out loss", "2.500", "Held-out answers", "Because.", "cut off"):
        assert words in page
    assert "&lt;script&gt;" in page
    assert "What the judge said" not in page


def test_what_was_published_is_a_band_behind_the_loss(folder):
    RunLog(folder, "step").config({"kind": "sft", "published": {"loss": [2.9208, 2.2084]}})
    drawn = dict(report_figures(folder))["Loss"]
    names = [line.name for line in drawn.data if line.name]
    assert names[-1].startswith("published, from 2.921 to")
    assert {2.9208, 2.2084} in [set(line.y) for line in drawn.data]


def test_each_domain_has_its_perplexity(folder):
    log = RunLog(folder, "step")
    log.metrics({"step": 9, "heldout/loss/papers": 2.0, "heldout/loss/english": 1.0})
    figure = dict(report_figures(folder))["Perplexity by domain"]
    drawn = {line.name.split()[0]: (list(line.x), list(line.y)) for line in figure.data}
    assert drawn["papers"] == ([9.0], [pytest.approx(math.exp(2))])
    assert drawn["english"] == ([9.0], [pytest.approx(math.e)])
