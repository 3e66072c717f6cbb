"""A policy's answers and what is said of them: a real tiny model, a real judge over HTTP."""

import contextlib
import dataclasses

import pytest

from judges import JudgeConfig
from judges.serve.child import ChildServer
from rl.config import PolicyConfig
from rl.config.evaluate import EvaluateRun
from rl.data.rows import Row
from rl.evaluate.task import Candidate
from rl.evaluate.text import answers
from rl.evaluate.text.answers import Answers
from rl.evaluate.text.figures import repetition, rouge_l, token_f1
from rl.policy.load import load_policy, load_tokenizer
from rl.refusal import Refusal
from rl.rollout.background import Background
from rl.rollout.engine import Completion, Sampling

ROWS = [
    Row(id="scurvy", question="Which vitamin prevents scurvy?", answer="Vitamin C"),
    Row(id="insulin", question="Which organ makes insulin?", answer="The pancreas"),
    Row(id="bone", question="Which bone is the longest?", answer="The femur"),
    Row(id="sugar", question="哪种激素能降低血糖？", answer="胰岛素", lang="zh"),
]
GREEDY = Sampling(max_new_tokens=12, temperature=0.0, seed=0)
SAMPLED = dataclasses.replace(GREEDY, temperature=1.0)


@pytest.fixture(scope="module")
def policy():
    config = PolicyConfig(model="tiny-qwen3.5", dtype="float32", lora_targets=("down_proj",))
    return load_policy(config, load_tokenizer(config), seed=0)


@pytest.fixture(scope="module")
def candidate(policy):
    return Candidate(tokenizer=policy.tokenizer, window=4096, system_prompt="Be brief.")


class Saying:
    """An engine that answers by the question: text, and whether it came to its end."""

    def __init__(self, tokenizer, answer_to):
        self.tokenizer, self.answer_to = tokenizer, answer_to

    async def publish(self, policy, version):
        return {}

    async def stream(self, prompts, sampling):
        for place, prompt in enumerate(prompts):
            asked = self.tokenizer.decode(prompt)
            answers = next(self.answer_to[row.id] for row in ROWS if row.question in asked)
            text, ended = answers if isinstance(answers, tuple) else answers[place % len(answers)]
            ids = self.tokenizer(text)["input_ids"]
            yield Completion(
                prompt=place,
                token_ids=[*ids, self.tokenizer.eos_token_id] if ended else ids,
                logprobs=[0.0] * (len(ids) + ended),
                finish_reason="stop" if ended else "length",
            )


SAID = {
    "scurvy": ("Vitamin C.", True),
    "insulin": ("I would ask a friend about this first.", True),
    "bone": ("It is the longest bone, it is the longest bone, and", False),
    "sugar": ("Insulin, it is what the pancreas makes", True),
}


def saying(answer_to):
    @contextlib.contextmanager
    def engine_of(policy, candidate):
        background = Background()
        try:
            yield background, Saying(policy.tokenizer, answer_to)
        finally:
            background.close()

    return engine_of


def scored(task, policy, candidate, done=()):
    task.check(candidate)
    return {score.item: score for score in task.score(policy, candidate, done)}


def test_every_question_is_answered_and_a_killed_run_asks_only_the_rest(policy, candidate):
    whole = scored(Answers("answers", ROWS, GREEDY), policy, candidate)
    assert whole.keys() == {row.id for row in ROWS}
    rest = scored(Answers("answers", ROWS, GREEDY), policy, candidate, {"scurvy", "sugar"})
    assert rest == {item: whole[item] for item in ("insulin", "bone")}


def test_sampled_answers_are_others_and_the_same_for_the_same_seed(policy, candidate):
    greedy, one, same = (
        [score.shown for score in scored(task, policy, candidate).values()]
        for task in (Answers("answers", ROWS, sampling) for sampling in (GREEDY, SAMPLED, SAMPLED))
    )
    assert one == same != greedy


def test_a_sampled_run_that_was_killed_half_way_has_the_answers_of_a_whole_one(
    policy, candidate, monkeypatch
):
    """Written down are an item of each of two batches, and not the other."""
    monkeypatch.setattr(answers, "AT_ONCE", 4)
    task = Answers("answers", ROWS, SAMPLED, samples=2)
    whole = scored(task, policy, candidate)
    one, two, three, _ = task.items
    for done in ({one, three}, {one, two, three}):
        assert scored(task, policy, candidate, done) == {
            item: whole[item] for item in task.items if item not in done
        }
    said = {each["reasoning"] for score in whole.values() for each in score.shown["answers"]}
    assert len(said) == 2 * len(ROWS)


def test_several_answers_that_would_all_be_the_same_are_refused():
    with pytest.raises(Refusal, match=r"samples is 2 and temperature is 0.*--temperature 1"):
        EvaluateRun(samples=2)


def test_the_score_of_an_item_is_the_mean_over_its_answers(policy, candidate):
    said = {item: [text, ("Vitamin C", True), text] for item, text in SAID.items()}
    several = Answers("answers", ROWS, SAMPLED, engine_of=saying(said), samples=3, thinking=False)
    score = scored(several, policy, candidate)["bone"]
    assert [each["answer"] for each in score.shown["answers"]] == [
        SAID["bone"][0],
        "Vitamin C",
        SAID["bone"][0],
    ]
    cut = SAID["bone"][0]
    assert score.values["f1"] == pytest.approx(2 * token_f1(cut, ["The femur"]) / 3)
    assert score.values["cut_off"] == pytest.approx(2 / 3)
    assert score.values["repetition"] == repetition(cut), "two words repeat nothing"


def test_what_is_said_of_an_answer_is_what_is_said_of_its_text(policy, candidate):
    task = Answers("answers", ROWS, GREEDY, engine_of=saying(SAID), thinking=False)
    scores = scored(task, policy, candidate)
    said = {row.id: SAID[row.id][0] for row in ROWS}
    for row in ROWS:
        values = scores[row.id].values
        assert values["f1"] == token_f1(said[row.id], [row.answer])
        assert values["rouge_l"] == rouge_l(said[row.id], [row.answer])
        assert values["cut_off"] == (row.id == "bone")
    assert scores["bone"].values["repetition"] == repetition(said["bone"]) > 0
    assert [scores[row.id].values["language"] for row in ROWS] == [1, 1, 1, 0]
    assert scores["scurvy"].values["words"] == 2
    assert scores["scurvy"].values["exact"] == 1
    figures = {metric.name: metric.of(list(scores.values())) for metric in task.metrics}
    assert figures["exact match"] == 0.25
    assert figures["cut off"] == 0.25
    assert "judge's score" not in figures


def test_reasoning_is_split_off_and_is_no_part_of_the_answer(policy, candidate):
    thought = {
        item: (f"They ask.\n</think>\n\n{text}", ended) for item, (text, ended) in SAID.items()
    }
    task = Answers("answers", ROWS, GREEDY, engine_of=saying(thought), thinking=True)
    score = scored(task, policy, candidate)["scurvy"]
    (answer,) = score.shown["answers"]
    assert (answer["reasoning"], answer["answer"]) == ("They ask.", "Vitamin C.")
    assert score.values["exact"] == 1


@pytest.fixture
def judged(policy, candidate):
    def run(judge):
        task = Answers("answers", ROWS, GREEDY, engine_of=saying(SAID), thinking=False, judge=judge)
        return task, scored(task, policy, candidate)

    return run


def test_an_answer_is_judged_as_in_training(judged):
    task, scores = judged(JudgeConfig(backend="rules"))
    tiers = {item: score.shown["answers"][0]["tier"] for item, score in scores.items()}
    assert tiers == {
        "scurvy": "same",
        "insulin": "off_domain",
        "bone": "truncated",
        "sugar": "off_domain",
    }
    assert [scores[row.id].values["judge"] for row in ROWS] == [2.0, 0.0, -1.0, 0.0]
    first, *_ = task.metrics
    assert (first.name, first.of(list(scores.values()))) == ("judge's score", 0.25)
    task.hold(list(scores.values()))


def test_a_fault_of_the_judge_is_no_score_and_is_counted(judged):
    """Every reply names a tier that the rubric does not have."""
    import asyncio

    async def main():
        async with ChildServer(["--faults", "wrong_enum=1"]) as server:
            judge = JudgeConfig(backend="custom", model="rules", url=server.url, retries=0)
            return await asyncio.to_thread(judged, judge)

    task, scores = asyncio.run(main())
    values = [scores[row.id].values for row in ROWS]
    assert [each["judge_fault"] for each in values] == [1, 1, 0, 1]
    assert [each.get("judge") for each in values] == [None, None, -1.0, None]
    with pytest.raises(Refusal, match="no verdict on 75% of the answers"):
        task.hold(list(scores.values()))


def test_a_judge_that_turns_requests_away_ends_it(judged, refusing_url):
    with pytest.raises(Refusal, match="turns requests away"):
        judged(JudgeConfig(backend="custom", model="m", url=refusing_url, retries=0))


def test_the_oracle_is_right_about_everything():
    task = Answers("answers", ROWS, GREEDY)
    oracle = list(task.control("oracle"))
    assert [score.item for score in oracle] == task.items
    for score in oracle:
        assert (score.values["exact"], score.values["f1"], score.values["rouge_l"]) == (1, 1, 1)


def test_answers_that_are_all_the_same_are_refused(policy, candidate):
    rows = [dataclasses.replace(row, id=f"{row.id} {n}") for row in ROWS for n in (1, 2)]
    same = {row.id: ("I do not know.", True) for row in ROWS}
    task = Answers("answers", rows, GREEDY, engine_of=saying(same), thinking=False)
    scores = list(scored(task, policy, candidate).values())
    with pytest.raises(Refusal, match="all answers to 8 questions are the same, 'I do not know"):
        task.hold(scores)


def test_questions_that_leave_no_room_are_refused(candidate):
    narrow = dataclasses.replace(candidate, window=24)
    with pytest.raises(Refusal, match="4 of 4 questions and an answer of 12 tokens"):
        Answers("answers", ROWS, GREEDY).check(narrow)


def test_fewer_questions_are_some_of_the_same_and_the_same_data():
    tasks = [Answers("answers", ROWS, GREEDY, most_questions=most) for most in (None, 3, 2)]
    every, three, two = (task.items for task in tasks)
    assert (every[:3], every[:2]) == (three, two)
    assert tasks[0].facts == tasks[2].facts


def test_two_questions_of_one_name_are_refused():
    with pytest.raises(Refusal, match="2 questions are called 'scurvy'"):
        Answers("answers", [ROWS[0], ROWS[0]], GREEDY)
