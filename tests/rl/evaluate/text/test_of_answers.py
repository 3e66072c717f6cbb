"""What a judge makes of the answers that columns wrote: pairwise and axes as rows of the table."""

import json

import pytest

from judges import JudgeConfig
from rl.config.evaluate import EvaluateRun
from rl.config.shared import TrackingConfig
from rl.data.rows import Row
from rl.evaluate.outlook import outlook
from rl.evaluate.task import Score
from rl.evaluate.text.answers import Answers
from rl.evaluate.text.axes import Axes
from rl.evaluate.text.pairwise import Pairwise
from rl.refusal import Refusal
from rl.rollout.engine import Sampling
from rl.run.lifecycle import run
from rl.stages.evaluate import EvaluateStage

FACTS = ("The heart", "The pancreas", "The femur", "Vitamin C", "The kidney", "The liver")
ROWS = [Row(id=f"q{n}", question=f"Question {n}?", answer=fact) for n, fact in enumerate(FACTS)]
WRONG = "I would ask a friend about this first."
GREEDY = Sampling(max_new_tokens=8, temperature=0.0, seed=0)
RULES = JudgeConfig(backend="rules")


def answers(**settings):
    return Answers("answers", ROWS, GREEDY, **settings)


def written(*says):
    """A column's scores: to each question so many answers, each the truth or not."""
    return [
        Score(
            item=row.id,
            values={},
            shown={
                "question": row.question,
                "truth": row.answer,
                "lang": "en",
                "answers": [{"answer": row.answer if right else WRONG} for right in says],
            },
        )
        for row in ROWS
    ]


def judge_that_says(serving, reply_to):
    """Over HTTP, what `reply_to(prompt)` gives."""

    def answer(path, body):
        content = json.dumps({"rationale": "So.", **reply_to(body["messages"][-1]["content"])})
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": content}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}

    return serving(answer)


def custom(url, **settings):
    return JudgeConfig(backend="custom", model="m", url=url, retries=0, **settings)


def test_who_answers_better_is_preferred_and_the_first_column_is_no_better_than_itself():
    task = Pairwise("pairwise", answers(samples=2), RULES, seed=0)
    first = written(False, False)
    found = {score.item: score for score in task.score_answers(written(True, False), first, {"q3"})}
    assert found.keys() == {row.id for row in ROWS} - {"q3"}
    for score in found.values():
        values = score.values
        assert values["preferred"] == 0.75, "one pair is won, the other the same"
        assert (values["won"], values["tied"], values["lost"]) == (0.5, 0.5, 0.0)
        assert (values["first"], values["alike"], values["judge_fault"]) == (0.5, 1.0, 0.0)
    task.hold(list(found.values()))
    own = list(task.score_answers(first, None, ()))
    assert [score.values for score in own] == [{"preferred": 0.5}] * len(ROWS)
    task.hold(own)


def test_a_judge_that_names_whoever_stands_first_refuses_the_row(serving):
    with judge_that_says(serving, lambda _: {"better": "A"}) as url:
        task = Pairwise("pairwise", answers(), custom(url), seed=0)
        scores = list(task.score_answers(written(True), written(False), ()))
    assert [score.values["preferred"] for score in scores] == [0.5] * len(ROWS)
    with pytest.raises(Refusal, match="the judge names whoever stands first, whichever answer"):
        task.hold(scores)


def test_a_judge_that_never_names_one_refuses_the_row(serving):
    with judge_that_says(serving, lambda _: {"better": "C"}) as url:
        task = Pairwise("pairwise", answers(), custom(url), seed=0)
        scores = list(task.score_answers(written(True), written(False), ()))
    with pytest.raises(Refusal, match="names neither, of all pairs of answers to 6 questions"):
        task.hold(scores)


def rating(task, prompt, right):
    number = right if any(f'"answer": "{row.answer}"' in prompt for row in ROWS) else 2
    return dict.fromkeys(task._axes.names, number)


def test_answers_are_rated_on_every_axis_and_a_question_by_the_mean_of_its_answers(serving):
    task = Axes("axes", answers(samples=2), RULES)
    with judge_that_says(serving, lambda prompt: rating(task, prompt, right=5)) as url:
        task = Axes("axes", answers(samples=2), custom(url))
        scores = list(task.score_answers(written(True, False), None, ()))
    assert [metric.of(scores) for metric in task.metrics] == [3.5, 3.5, 3.5, 3.5, 3.5, 0.0]
    task.hold(scores[:2])


def test_a_judge_that_rates_everything_the_same_refuses_the_row(serving):
    task = Axes("axes", answers(), RULES)
    with judge_that_says(serving, lambda prompt: rating(task, prompt, right=2)) as url:
        task = Axes("axes", answers(), custom(url))
        scores = list(task.score_answers(written(True), None, ()))
    with pytest.raises(Refusal, match="the answers to all 6 questions 2 on every axis"):
        task.hold(scores)


@pytest.mark.parametrize("kind", [Axes, lambda *args: Pairwise(*args, seed=0)])
def test_what_has_no_meaning_there_is_refused(kind):
    with pytest.raises(Refusal, match=r"row: judge.samples is 3.*Leave it out"):
        kind("row", answers(), JudgeConfig(samples=3))


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "quiz.jsonl"
    rows = [{"id": row.id, "question": row.question, "answer": row.answer} for row in ROWS]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def config(**settings):
        return EvaluateRun(
            columns=("tiny-qwen3.5", "random"),
            tasks=(f"pairwise={file}", f"axes={file}"),
            out=str(tmp_path),
            name="evaluate",
            max_new_tokens=4,
            thinking=False,
            tracking=TrackingConfig(mode="disabled"),
            **settings,
        )

    return config


def test_what_a_judge_will_be_asked_is_told_beforehand(config):
    """Six answers of two columns rated, and six pairs of them in both orders."""
    assert "about 24 calls" in outlook(config())
    assert "answers-quiz (6 items), pairwise-quiz (6 items)" in outlook(config())


@pytest.mark.slow
def test_rows_of_the_table_go_on_where_a_budget_ended_them_and_pay_nothing_twice(
    config, tmp_path, serving
):
    asked = []

    def reply(prompt):
        asked.append(prompt)
        numbers = dict.fromkeys(Axes("axes", answers(), RULES)._axes.names, 1 + len(asked) % 5)
        return {"better": "AB"[len(asked) % 2]} | numbers

    folder = tmp_path / "evaluate"
    with judge_that_says(serving, reply) as url:
        judge = custom(url, max_calls=7)
        assert run(EvaluateStage(config(judge=judge)), "-m experiments.evaluate") == 1
        assert len(asked) == 7
        more = EvaluateStage(config(judge=custom(url)))
        run(more, "-m experiments.evaluate", resume=folder, accept_drift=True)
    assert len(asked) == len({*asked}), "nothing was asked twice"
    table = json.loads((folder / "table.json").read_text())
    assert table["missing"] == []
