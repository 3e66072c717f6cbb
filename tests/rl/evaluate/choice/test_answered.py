"""Which option a written answer names, and how often it names one."""

import copy
import dataclasses

import pytest

from rl.evaluate.choice.answered import option_in
from rl.evaluate.choice.task import Asking, choice_tasks
from rl.refusal import Refusal

OPTIONS = ("Aspirin", "Insulin", "Warfarin", "Low-dose aspirin")


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("B", 1),
        ("(C)", 2),
        ("**B**", 1),
        ("B. Insulin", 1),
        ("C) Warfarin, since it thins the blood.", 2),
        ("Answer: D", 3),
        ("The answer is **C**.", 2),
        ("The correct option is (B), not A.", 1),
        ("The answer might be A, but the answer is B.", 1),
        (r"So it is $\boxed{C}$", 2),
        (r"\boxed{\text{B}}", 1),
        ("答案：C", 2),
        ("正确答案是B。", 1),
        ("应选 D", 3),
        ("Insulin lowers glucose.", 1),
        ("One gives low-dose aspirin here.", 3),
        ("The answer is B because option A is no hormone.", 1),
        ("Options A and B are wrong.", None),
        ("It must be option C here.", 2),
        ("The answer is a drug that thins the blood: warfarin.", 2),
        ("b", 1),
        ("Insulin or warfarin", None),
        ("A patient like this needs rest.", None),
        ("answer: E", None),
        ("I do not know.", None),
        ("", None),
    ],
)
def test_an_option_is_found_where_one_is_named_and_only_there(answer, place):
    assert option_in(answer, OPTIONS) == place


def test_yes_is_not_found_in_yesterday():
    assert option_in("Yesterday, maybe.", ("yes", "no", "maybe")) == 2


def task_of(file, **asking):
    (task,) = choice_tasks("medqa:answer", file, Asking(**asking))
    return task


def test_answers_are_written_and_counted_whether_or_not_they_name_an_option(
    write, rows, policy, candidate
):
    task = task_of(write(rows[:4]), max_new_tokens=6)
    task.check(candidate)
    scores = list(task.score(policy, candidate, ()))
    assert sorted(score.item for score in scores) == task.items
    for score in scores:
        pick = option_in(score.shown["answer"], score.shown["options"])
        assert score.values["extracted"] == (pick is not None)
        assert score.shown["picked"] == (None if pick is None else "ABCD"[pick])
        assert 1 <= score.values["tokens"] <= 6
    names = [metric.name for metric in task.metrics]
    assert names == ["acc", "extracted", "cut off", "tokens"]
    assert task.metrics[1].of(list(task.control("oracle"))) == 1.0


def test_reasoning_is_taken_off_before_an_option_is_looked_for(
    write, rows, policy, candidate, monkeypatch
):
    says = "It could be A.</think>\n\nThe answer is B.<|im_end|>"
    ids = candidate.tokenizer.encode(says)

    def generate(input_ids, attention_mask, **_):
        from types import SimpleNamespace

        import torch

        answers = torch.tensor([ids] * len(input_ids))
        scores = [torch.zeros(len(input_ids), len(candidate.tokenizer))] * len(ids)
        return SimpleNamespace(sequences=torch.cat([input_ids, answers], 1), scores=scores)

    monkeypatch.setattr(policy.model, "generate", generate)
    thinking = dataclasses.replace(candidate, thinking=True)
    task = task_of(write(rows), max_new_tokens=64)
    scores = list(task.score(policy, thinking, ()))
    assert {score.shown["picked"] for score in scores} == {"B"}
    assert scores[0].shown["reasoning"] == "It could be A."
    with pytest.raises(Refusal, match=r"B is the answer to 10 of 10 .* right ones, 30\.0%"):
        task.hold(scores)


def test_what_is_asked_lists_the_options_and_says_how_to_answer(write, rows, candidate):
    for name, said in (("medqa", "Answer with the letter"), ("cmexam", "请用正确选项的字母回答")):
        (task,) = choice_tasks(f"{name}:answer", write(rows[:1]), Asking())
        prompt = candidate.tokenizer.decode(task._way._prompt(task._asked[0], candidate))
        assert "A. Heart\nB. Liver\nC. Lung\nD. Skin\n" in prompt
        assert said in prompt


def test_an_answer_that_has_no_room_is_refused(write, rows, candidate):
    small = dataclasses.replace(candidate, window=100)
    with pytest.raises(Refusal, match="do not fit into the window of 100 tokens"):
        task_of(write(rows), max_new_tokens=90).check(small)


def test_a_model_without_a_chat_template_is_pointed_to_likelihood(write, rows, candidate):
    bare = copy.copy(candidate.tokenizer)
    bare.chat_template = None
    with pytest.raises(Refusal, match=r"no chat template .*--tasks medqa"):
        task_of(write(rows)).check(dataclasses.replace(candidate, tokenizer=bare))


def test_a_chat_template_that_knows_no_system_prompt_is_told_of(write, rows, candidate):
    strict = copy.copy(candidate.tokenizer)
    strict.chat_template = "{{ raise_exception('no system role') }}"
    told = dataclasses.replace(candidate, tokenizer=strict, system_prompt="Be brief.")
    with pytest.raises(Refusal, match=r"messages of system, user \(no system role\)"):
        task_of(write(rows)).check(told)
