"""Scores that only look like a measurement, and those that are made up to read a table against."""

import math

import pytest

from rl.evaluate.choice.task import Asking, choice_tasks
from rl.evaluate.task import Controlled, Score
from rl.refusal import Refusal


@pytest.fixture
def task(write, rows):
    (task,) = choice_tasks("medqa", write(rows), Asking())
    return task


def score(item, likelihoods, gold):
    pick = "ABCD"[likelihoods.index(max(likelihoods))]
    shown = {"log_likelihoods": likelihoods, "picked": pick, "gold": gold}
    return Score(item=item, values={"acc": float(pick == gold)}, shown=shown)


def test_a_policy_whose_output_depends_on_nothing_is_refused(task, candidate, policy):
    head = policy.model.get_output_embeddings()
    kept = head.weight.data.clone()
    try:
        head.weight.data.zero_()
        scores = list(task.score(policy, candidate, ()))
    finally:
        head.weight.data.copy_(kept)
    with pytest.raises(Refusal, match="The policy's output does not depend on"):
        task.hold(scores)


def test_scores_that_are_all_equal_are_refused(task):
    scores = [score(str(n), [-1.0 - n] * 4, "ABCD"[n % 4]) for n in range(10)]
    with pytest.raises(Refusal, match="of each of 10 questions all options are equally likely"):
        task.hold(scores)


def test_options_as_likely_whatever_is_asked_are_refused(task):
    scores = [score(str(n), [-1.0, -2.0, -3.0, -4.0], "ABCD"[n % 4]) for n in range(10)]
    with pytest.raises(Refusal, match="as likely in each of 10 questions, whatever is asked"):
        task.hold(scores)


def test_always_the_same_letter_is_refused_with_its_share(task):
    scores = [score(str(n), [-2.0, -1.0, -9.0 - n], "ABBC"[n % 4]) for n in range(12)]
    with pytest.raises(Refusal, match=r"B is the answer to 12 of 12 .* right ones, 50\.0%"):
        task.hold(scores)
    task.hold(scores[:7])  # of so few it may well be right


def test_one_other_letter_among_many_makes_it_no_measurement(task):
    scores = [score(str(n), [-2.0, -1.0, -9.0 - n], "ABBC"[n % 4]) for n in range(39)]
    odd_one = score("odd", [-2.0, -3.0, -4.0], "A")
    with pytest.raises(Refusal, match=r"B is the answer to 39 of 40 questions"):
        task.hold([*scores, odd_one])
    others = [score(f"{n} too", [-2.0, -3.0 - n, -4.0], "A") for n in range(3)]
    task.hold([*scores, *others])
    one_sided = [score(str(n), [-2.0, -1.0, -9.0 - n], "B") for n in range(12)]
    task.hold([*one_sided, odd_one])  # as the set itself


def test_what_is_not_a_number_is_refused_with_its_question(task):
    with pytest.raises(Refusal, match=r"log-likelihoods of medqa-3 .*The policy is broken"):
        task.hold([score("medqa-3", [math.nan, -1.0], "A")])


def test_answers_that_differ_are_held(task):
    task.hold([score(str(n), [-1.0 - n % 3, -2.0], "AB"[n % 2]) for n in range(12)])


def test_a_set_that_one_letter_passes_is_refused(write, rows):
    for row in rows:
        row["answer"] = "B"
    with pytest.raises(Refusal, match="right answer of all 10 questions is B"):
        choice_tasks("medqa", write(rows), Asking())


def test_an_oracle_is_right_and_a_constant_has_the_share_of_its_letter(task, rows):
    assert isinstance(task, Controlled)
    (acc,) = task.metrics
    assert acc.of(list(task.control("oracle"))) == 1.0
    for letter in "ABCD":
        share = sum(row["answer"] == letter for row in rows) / len(rows)
        assert acc.of(list(task.control(f"constant:{letter}"))) == share
    assert [made.item for made in task.control("oracle")] == task.items


def test_a_control_that_no_question_can_have_is_refused(task):
    with pytest.raises(Refusal, match="has no control 'constant:E'"):
        task.control("constant:E")


def test_facts_say_where_it_is_from_and_what_a_score_depends_on(write, rows):
    file = write([*rows, rows[0] | {"answer": "AB"}])
    (task,) = choice_tasks("medqa", file, Asking(few_shot=1))
    facts = task.facts
    assert facts["source"] == file
    assert facts["licence"].startswith("MIT")
    assert facts["left_out"] == {"several answers": [11]}
    assert facts["lm_eval"]
    (other,) = choice_tasks("medqa", file, Asking(few_shot=2))
    (in_chat,) = choice_tasks("medqa:chat", file, Asking(few_shot=1))
    assert facts not in (other.facts, in_chat.facts)
    (some,) = choice_tasks("medqa", file, Asking(few_shot=1, limit=2))
    assert facts == some.facts  # what was scored of a few is gone on with


def test_each_way_to_ask_has_a_name_of_its_own(write, rows):
    file = write(rows)
    ways = ("medqa", "medqa:chat", "medqa:answer")
    tasks = [task for name in ways for task in choice_tasks(name, file, Asking())]
    assert [task.name for task in tasks] == list(ways)
    with pytest.raises(Refusal, match="no such way to ask: did you mean 'answer'"):
        choice_tasks("medqa:answr", file, Asking())
    with pytest.raises(Refusal, match="mmlu is 8 tasks and the file has rows of one"):
        choice_tasks("mmlu", file, Asking())
