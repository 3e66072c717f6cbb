"""Scores on disk, and the table that is made of them."""

import math

import pytest

from judges.commands.answers import read_answers
from judges.pairwise.command import in_both
from rl.config import PolicyConfig
from rl.evaluate.cells import Cells, names_of
from rl.evaluate.columns import Column, Control
from rl.evaluate.compare.shown import as_markdown, write_answers
from rl.evaluate.compare.table import as_json, cells_of, header_of
from rl.evaluate.scores import CellName, ScoreFile
from rl.evaluate.task import Metric, Score, mean_of
from rl.refusal import Refusal

BASE, TUNED = (Column(label=label, policy=PolicyConfig()) for label in ("base", "tuned"))
ORACLE = Control(label="oracle", name="oracle")
FACTS = {"base": {"adapter": None}, "tuned": {"adapter": "abc"}, "oracle": {}}


class Quiz:
    metrics = (
        Metric(name="right", better="higher", of=mean_of("right"), is_share=True),
        Metric(name="words", better=None, of=mean_of("words")),
    )

    def __init__(self, name="quiz", count=40, **facts):
        self.name, self.facts = name, facts
        self.items = [str(i) for i in range(count)]

    def hold(self, scores):
        if all(score.values["right"] == 0 for score in scores):
            raise Refusal("every answer is wrong")

    def control(self, name):
        if name != "oracle":
            raise Refusal(f"no control {name}")
        return [score(item, 1) for item in self.items]


def score(item, right, words=3.0):
    return Score(item=str(item), values={"right": float(right), "words": words}, shown={"a": "甲"})


def cells(folder, *columns, tasks=None):
    tasks = tasks or [Quiz()]
    return Cells(folder, names_of(columns, tasks), columns, tasks, FACTS, seed=0)


def fill(into, label, rights, task="quiz"):
    for item, right in enumerate(rights):
        into.add(CellName(task, label), score(item, right, words=3.0 + right))


def test_what_was_scored_is_found_again_in_the_order_of_the_items(tmp_path):
    name = CellName("quiz:chat", "base")
    file = ScoreFile(tmp_path, name, {"sha": "1"})
    for item in ("b", "a"):
        file.add(score(item, 1))
    again = ScoreFile(tmp_path, name, {"sha": "1"})
    assert again.of(["a", "b", "c"]) == [score("a", 1), score("b", 1)]


def test_a_line_that_was_being_written_when_the_run_died_is_cut(tmp_path):
    name = CellName("quiz", "base")
    file = ScoreFile(tmp_path, name, {})
    file.add(score("a", 1))
    with file.path.open("a") as torn:
        torn.write('{"item": "b", "val')
    again = ScoreFile(tmp_path, name, {})
    again.add(score("b", 0))
    assert [each.item for each in ScoreFile(tmp_path, name, {}).of(["a", "b"])] == ["a", "b"]


def test_scores_of_something_else_are_put_aside_and_never_mixed_in(tmp_path):
    name = CellName("quiz", "base")
    ScoreFile(tmp_path, name, {"sha": "1"}).add(score("a", 1))
    other = ScoreFile(tmp_path, name, {"sha": "2"})
    assert other.of(["a"]) == []
    (aside,) = (tmp_path / "quiz").glob("*.old")
    assert '"item": "a"' in aside.read_text()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_score(tmp_path, value):
    with pytest.raises(Refusal, match="right of item a is"):
        ScoreFile(tmp_path, CellName("quiz", "base"), {}).add(score("a", value))


def test_the_table_says_who_is_better_by_how_much_and_how_surely(tmp_path):
    filling = cells(tmp_path, BASE, TUNED, ORACLE)
    fill(filling, "base", [1] * 10 + [0] * 30)
    fill(filling, "tuned", [1] * 25 + [0] * 15)
    fill(filling, "oracle", [1] * 40)
    table = filling.table({"seed": 0})
    header = header_of(table)
    assert header[:6] == ["task", "metric", "n", "base", "tuned", "oracle"]
    assert header[6:] == ["tuned − base"]
    right = dict(zip(header, cells_of(table, table.rows[0]), strict=True))
    assert right["base"] == ("25.0 %", "[14.2, 40.2]")  # Wilson's
    assert (right["tuned"].text, right["oracle"].text) == ("62.5 %", "100.0 %")
    assert right["tuned − base"].text.startswith("+37.5 [+22.")
    assert right["tuned − base"].note == "p <0.001: better"
    words = dict(zip(header, cells_of(table, table.rows[1]), strict=True))
    assert words["tuned − base"].note == "p <0.001: higher"
    (row, _) = as_json(table)["rows"]
    assert row["differences"]["tuned"]["by"] == "McNemar, exact"
    said = as_markdown(table)
    assert "quiz, right: tuned against base +37.5" in said
    assert "p <0.001: better" in said


def test_a_difference_whose_interval_holds_0_is_not_told_from_nothing(tmp_path):
    filling = cells(tmp_path, BASE, TUNED)
    fill(filling, "base", [1] * 20 + [0] * 20)
    fill(filling, "tuned", [1] * 19 + [0] * 18 + [1] * 3)
    assert "not told from nothing" in as_markdown(filling.table({}))


def test_one_of_many_that_holm_does_not_let_stand_is_said_to_be_so(tmp_path):
    tasks = [Quiz(f"quiz{i}") for i in range(6)]
    filling = cells(tmp_path, BASE, TUNED, tasks=tasks)
    for task in tasks:
        gained = 7 if task.name == "quiz0" else 0
        fill(filling, "base", [1] * 10 + [0] * 30, task.name)
        fill(filling, "tuned", [1] * (10 + gained) + [0] * (30 - gained), task.name)
    first = filling.table({}).rows[0].differences["tuned"]
    assert first.p < 0.05 < first.p_holm
    assert "not told from nothing among so many" in as_markdown(filling.table({}))


def test_a_refused_cell_has_its_reason_and_never_a_number(tmp_path):
    filling = cells(tmp_path, BASE, TUNED)
    fill(filling, "base", [1] * 10 + [0] * 30)
    fill(filling, "tuned", [0] * 40)
    table = filling.table({})
    shown = dict(zip(header_of(table), cells_of(table, table.rows[0]), strict=True))
    assert (shown["tuned"], shown["tuned − base"]) == (("refused", ""), ("", ""))
    assert "refused: quiz: tuned: every answer is wrong" in as_markdown(table)
    assert as_json(table)["rows"][0]["figures"].keys() == {"base"}


def test_a_cell_without_all_of_its_scores_has_no_number_either(tmp_path):
    filling = cells(tmp_path, BASE, TUNED)
    fill(filling, "base", [1] * 40)
    fill(filling, "tuned", [1] * 39)
    filling.broke_off[CellName("quiz", "tuned")] = "the judge is gone"
    said = as_markdown(filling.table({}))
    assert "unfinished: quiz: tuned: 39 of 40 items are scored: the judge is gone" in said
    assert "tuned against base" not in said


def test_nothing_is_held_against_a_first_column_that_was_refused(tmp_path):
    filling = cells(tmp_path, BASE, TUNED)
    fill(filling, "base", [0] * 40)
    fill(filling, "tuned", [1] * 40)
    assert [row.differences for row in filling.table({}).rows] == [{}, {}]


def test_written_answers_are_left_as_whoever_compares_them_reads_them(tmp_path):
    filling = cells(tmp_path, BASE, TUNED)
    asked = {"question": "What thins the blood?", "truth": "Aspirin"}
    for label, said in (("base", ("no idea", "tea")), ("tuned", ("aspirin", "warfarin"))):
        answers = [{"answer": each, "reasoning": ""} for each in said]
        filling.add(
            CellName("quiz", label),
            Score(item="1", values={"right": 1.0}, shown={**asked, "answers": answers}),
        )
    write_answers(filling, tmp_path / "answers")
    files = [tmp_path / "answers" / "quiz" / f"{label}.jsonl" for label in ("base", "tuned")]
    pairs, alone = in_both(*(read_answers(str(file)) for file in files))
    assert [(one.answer, other.answer) for one, other in pairs] == [
        ("no idea", "aspirin"),
        ("tea", "warfarin"),
    ]
    assert alone == 0


def test_a_control_that_no_task_knows_is_refused(tmp_path):
    with pytest.raises(Refusal, match="column constant-A: no control constant:A"):
        names_of([BASE, Control(label="constant-A", name="constant:A")], [Quiz()])
