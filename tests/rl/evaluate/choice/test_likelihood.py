"""The likeliest option: the same as by a formula of our own, item by item."""

import dataclasses

import pytest

from rl.evaluate.choice.describe import tasks_called
from rl.evaluate.choice.questions import read_questions
from rl.evaluate.choice.task import Asking, choice_tasks
from rl.evaluate.choice.wording import Wording
from rl.refusal import Refusal


def task_of(name, file, **asking):
    (task,) = choice_tasks(name, file, Asking(**asking))
    return task


def likelihoods(policy, context, continuations):
    """Each option's, by the policy's own log-probs and nothing else."""
    encode = policy.tokenizer.encode
    start = len(encode(context))
    return [
        sum(policy.logprobs(encode(context + continuation))[start - 1 :])
        for continuation in continuations
    ]


def listed(row):
    options = zip("ABCDEFGH", row["options"], strict=False)
    return "".join(f"{letter}. {option}\n" for letter, option in options)


def by_letter(row):
    return f"Question: {row['question']}\n{listed(row)}Answer:"


LETTERS = (" A", " B", " C", " D")


def held_against(scores, wanted):
    for score, values in zip(scores, wanted, strict=True):
        assert score.shown["log_likelihoods"] == pytest.approx(values, abs=1e-4)
        assert score.shown["picked"] == "ABCD"[values.index(max(values))]
        assert score.values["acc"] == (score.shown["picked"] == score.shown["gold"])


def test_letters_are_as_likely_as_an_independent_formula_says(write, rows, policy, candidate):
    task = task_of("medqa", write(rows))
    task.check(candidate)
    scores = list(task.score(policy, candidate, ()))
    held_against(scores, [likelihoods(policy, by_letter(row), LETTERS) for row in rows])
    longest = max(len(policy.tokenizer.encode(by_letter(row) + " A")) for row in rows)
    assert max(score.shown["tokens"] for score in scores) == longest


def test_texts_are_too_and_their_length_is_taken_out(write, rows, policy, candidate):
    scores = list(task_of("arc_challenge", write(rows[4:])).score(policy, candidate, ()))
    picked = []
    for row, score in zip(rows[4:], scores, strict=True):
        context = f"Question: {row['question']}\nAnswer:"
        values = likelihoods(policy, context, [f" {option}" for option in row["options"]])
        assert score.shown["log_likelihoods"] == pytest.approx(values, abs=1e-4)
        by_character = [
            value / len(option) for value, option in zip(values, row["options"], strict=True)
        ]
        pick = by_character.index(max(by_character))
        assert score.values["acc_norm"] == float("ABCD"[pick] == row["answer"])
        picked.append(pick != values.index(max(values)))
    assert any(picked)  # else nothing would have been proven of the length


def test_a_blank_is_filled_and_what_follows_it_is_weighed(write, policy, candidate):
    row = {"question": "The cup did not fit, because the _ was too big.", "answer": 0}
    row |= {"options": ["cup", "suitcase"]}
    (score,) = task_of("winogrande", write([row])).score(policy, candidate, ())
    values = [
        likelihoods(policy, f"The cup did not fit, because the {each}", [" was too big."])[0]
        for each in row["options"]
    ]
    assert score.shown["log_likelihoods"] == pytest.approx(values, abs=1e-4)


def test_in_chat_the_question_stands_in_the_models_own_template(write, rows, policy, candidate):
    told = dataclasses.replace(candidate, system_prompt="Be brief.")
    task = task_of("medqa:chat", write(rows[:3]))
    task.check(told)
    scores = list(task.score(policy, told, ()))
    wanted = []
    for row in rows[:3]:
        messages = [{"role": "system", "content": "Be brief."}]
        messages += [{"role": "user", "content": by_letter(row)}]
        context = policy.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        wanted.append(likelihoods(policy, context, ("A", "B", "C", "D")))
    held_against(scores, wanted)


def test_an_option_is_not_looked_for_among_thoughts(write, rows, candidate):
    thinking = dataclasses.replace(candidate, thinking=True)
    with pytest.raises(Refusal, match="opens a think block"):
        task_of("medqa:chat", write(rows)).check(thinking)


def test_examples_are_other_questions_and_each_question_has_its_own(write, rows, candidate):
    (description,) = tasks_called("medqa")
    asked = read_questions(description, write([*rows, rows[0]])).rows

    def prompts(seed):
        wording = Wording(description, asked, few_shot=3, seed=seed)
        return [wording.requests(each, candidate, chat=False)[0].args[0] for each in asked]

    for question, prompt in zip(asked, prompts(1), strict=True):
        assert prompt.count("Answer: ") == 3
        assert prompt.count(question.question) == 1
        assert prompt.endswith("Answer:")
    assert len({prompt.partition("\n\n")[0] for prompt in prompts(1)}) > 1
    assert prompts(1) == prompts(1) != prompts(2)


def test_what_is_done_is_not_asked_again_and_the_rest_comes_out_the_same(
    write, rows, policy, candidate
):
    task = task_of("medqa", write(rows[:4]), few_shot=2)
    whole = {score.item: score for score in task.score(policy, candidate, ())}
    rest = list(task.score(policy, candidate, task.items[:2]))
    assert [score.item for score in rest] == task.items[2:]
    for score in rest:
        assert score.shown["log_likelihoods"] == pytest.approx(
            whole[score.item].shown["log_likelihoods"], abs=1e-4
        )


def test_more_examples_than_there_are_other_questions_are_refused(write, rows):
    with pytest.raises(Refusal, match="few_shot is 2, and a question of medqa has 1 others"):
        task_of("medqa", write(rows[:2]), few_shot=2)


def test_a_question_longer_than_the_window_is_refused_before_anything_is_computed(
    write, rows, candidate
):
    rows[4]["question"] *= 20
    small = dataclasses.replace(candidate, window=120)
    with pytest.raises(Refusal, match=r"1 of 10 .* window of 120 tokens.* medqa-5, has"):
        task_of("medqa", write(rows)).check(small)


def test_a_limit_takes_the_same_questions_and_a_larger_one_takes_them_too(write, rows):
    file = write(rows)
    some = [set(task_of("medqa", file, limit=n).items) for n in (3, 3, 6)]
    assert some[0] == some[1] < some[2]
    assert set(task_of("medqa", file, limit=3, seed=1).items) != some[0]


def test_what_is_asked_leaves_a_training_as_it_was(write, rows, policy, candidate):
    policy.model.train()
    try:
        list(task_of("medqa", write(rows[:1])).score(policy, candidate, ()))
        assert policy.model.training
    finally:
        policy.model.eval()
