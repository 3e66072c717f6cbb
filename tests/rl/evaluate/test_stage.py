"""A whole evaluation on a tiny model, of tasks that break off, are refused, or change."""

import json

import pytest

from rl.config.evaluate import EvaluateRun
from rl.config.shared import TrackingConfig
from rl.evaluate import tasks
from rl.evaluate.task import Metric, Score, mean_of
from rl.refusal import Refusal
from rl.run.folder import read_run
from rl.run.lifecycle import run
from rl.stages.evaluate import EvaluateStage

TEXT = "the quick brown fox jumps over the lazy dog and then it runs far away from here"


class Fake:
    metrics = (Metric(name="right", better="higher", of=mean_of("right"), is_share=True),)

    def __init__(self, name, count=12):
        self.name, self.items = name, [f"item-{i}" for i in range(count)]
        self.facts = {"sha": "1"}
        self.texts = {item: f"{TEXT} {item}" for item in self.items}
        self.computed = []
        self.breaks_off_after = self.refuses = None

    def check(self, candidate):
        assert candidate.window > 0

    def score(self, policy, candidate, done):
        device = policy.model.device.type
        for count, item in enumerate(item for item in self.items if item not in done):
            if count == self.breaks_off_after:
                raise Refusal(f"{self.name}: the judge is gone")
            self.computed.append(item)
            yield Score(item=item, values={"right": float(count % 2)}, shown={"on": device})

    def hold(self, scores):
        if self.refuses:
            raise Refusal(f"{self.name}: {self.refuses}")


@pytest.fixture
def fakes(monkeypatch):
    made = {name: Fake(name) for name in ("one", "two")}
    for name, fake in made.items():
        monkeypatch.setitem(tasks.OF_FILES, name, lambda file, config, judge, fake=fake: [fake])
    return made


@pytest.fixture
def evaluate(tmp_path, fakes):
    def start(*columns, **options):
        config = EvaluateRun(
            columns=columns or ("tiny-qwen3.5",),
            tasks=("one=x", "two=x"),
            out=str(tmp_path),
            name="evaluate",
            tracking=TrackingConfig(mode="disabled"),
            trained_on=options.pop("trained_on", ()),
        )
        return run(EvaluateStage(config), "-m experiments.evaluate", **options)

    return start


def table(tmp_path):
    return json.loads((tmp_path / "evaluate" / "table.json").read_text())


def test_a_task_that_breaks_off_leaves_the_others_and_is_all_that_is_done_again(
    evaluate, fakes, tmp_path, capsys
):
    fakes["one"].breaks_off_after = 5
    assert evaluate() == 1
    (missing,) = table(tmp_path)["missing"]
    assert missing["why"] == "5 of 12 items are scored: the judge is gone"
    assert table(tmp_path)["rows"][0]["figures"] == {}
    said = capsys.readouterr()
    assert "1 of 2 cells are unfinished" in said.err
    assert f"--resume {tmp_path / 'evaluate'}" in said.out

    fakes["one"].breaks_off_after = None
    assert evaluate(resume=tmp_path / "evaluate") == 0
    for fake in fakes.values():
        assert fake.computed == fake.items
    assert table(tmp_path)["missing"] == []
    rows = read_run(tmp_path / "evaluate").metrics
    assert [(row["cell"], row["task"]) for row in rows] == [(1, "two"), (2, "one")]


def test_a_refused_cell_ends_with_1_and_the_others_have_their_figures(evaluate, fakes, tmp_path):
    fakes["one"].refuses = "every answer is A"
    assert evaluate() == 1
    found = table(tmp_path)
    assert found["refused"] == [
        {"task": "one", "column": "tiny-qwen3.5", "why": "every answer is A"}
    ]
    one, two = found["rows"]
    assert one["figures"] == {}
    assert two["figures"]["tiny-qwen3.5"]["value"] == 0.5
    assert read_run(tmp_path / "evaluate").summary["stopped"] is None
    with pytest.raises(Refusal, match=r"all its 2 cells are done.*--tasks one=x two=x ANOTHER"):
        evaluate(resume=tmp_path / "evaluate")


def test_what_changed_is_refused_and_where_that_is_accepted_nothing_old_is_mixed_in(
    evaluate, fakes, tmp_path
):
    fakes["two"].breaks_off_after = 3
    assert evaluate() == 1
    fakes["two"].breaks_off_after = None
    fakes["two"].facts = {"sha": "2"}
    fakes["two"].computed.clear()
    with pytest.raises(Refusal, match=r"task two\.sha: '1' -> '2'"):
        evaluate(resume=tmp_path / "evaluate")
    assert evaluate(resume=tmp_path / "evaluate", accept_drift=True) == 0
    assert fakes["two"].computed == fakes["two"].items
    assert len(fakes["one"].computed) == 12


def test_items_that_training_data_holds_are_counted_and_listed(evaluate, tmp_path, capsys):
    data = tmp_path / "learnt.jsonl"
    data.write_text(json.dumps({"text": f"Once {TEXT}."}) + "\n")
    assert evaluate(trained_on=(str(data),)) == 0
    (note, _) = table(tmp_path)["notes"]
    assert note == f"one: 12 of 12 items (100.0%) share 13 words in a row with {data}"
    assert note in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "evaluate/overlap.jsonl").open()]
    assert rows[0]["words"] == "the quick brown fox jumps over the lazy dog and then it runs"


def test_the_report_shows_the_table_and_treats_what_is_said_as_text(evaluate, fakes, tmp_path):
    fakes["one"].refuses = "all say <script>"
    assert evaluate("tiny-qwen3.5", "random") == 1
    page = (tmp_path / "evaluate" / "report.html").read_text()
    for words in ("Who is better", "random − tiny-qwen3.5", "not told from nothing"):
        assert words in page
    assert "all say &lt;script&gt;" in page
