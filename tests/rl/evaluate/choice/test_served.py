"""A server in the policy's place. This one has the tiny policy and speaks as vLLM does."""

import json

import pytest

from rl.evaluate.choice.served import served_at
from rl.evaluate.choice.task import Asking, choice_tasks
from rl.refusal import Refusal

MODELS = 200, {"data": [{"id": "base"}, {"id": "mine"}]}


def echoing(policy):
    """Of each prompt its own log-probs, and one token more, in any order."""

    def answer(path, asked):
        if asked is None:
            return MODELS
        choices = []
        for index, token_ids in enumerate(asked["prompt"]):
            known = [*policy.logprobs(token_ids), -0.5]
            top = [None, *({"a token": value} for value in known)]
            logprobs = {"token_logprobs": [None, *known], "top_logprobs": top}
            choices.insert(0, {"index": index, "logprobs": logprobs})
        return 200, {"choices": choices}

    return answer


@pytest.mark.parametrize("name", ["medqa", "medqa:chat", "arc_challenge"])
def test_a_server_gives_the_scores_of_the_policy_it_serves(
    write, rows, policy, candidate, monkeypatch, serving, name
):
    monkeypatch.setenv("OPENAI_API_KEY", "nobody-else's")
    (task,) = choice_tasks(name, write(rows[:3]), Asking())
    headers = []
    with serving(echoing(policy), headers) as url:
        served = list(task.score(served_at(f"{url}/v1", "mine"), candidate, task.items[:1]))
    own = list(task.score(policy, candidate, task.items[:1]))
    assert [score.values for score in served] == [score.values for score in own]
    for there, here in zip(served, own, strict=True):
        assert there.shown["log_likelihoods"] == pytest.approx(
            here.shown["log_likelihoods"], abs=1e-4
        )
    assert "nobody-else's" not in json.dumps(headers)


def test_what_a_server_says_no_to_is_told_with_its_reason(write, rows, candidate, serving):
    (task,) = choice_tasks("medqa", write(rows), Asking())
    too_long = 400, {"message": "maximum context length is 16 tokens"}
    with (
        serving(lambda path, body: too_long if body else MODELS) as url,
        pytest.raises(Refusal, match="maximum context length is 16 tokens"),
    ):
        list(task.score(served_at(url), candidate, ()))


def test_a_model_that_is_not_served_is_refused_with_those_that_are(serving):
    with (
        serving(lambda *_: MODELS) as url,
        pytest.raises(Refusal, match=r"serves no 'other'.* base, mine"),
    ):
        served_at(url, "other")


def test_where_nothing_listens_it_is_asked_whether_it_is_up(serving):
    with serving(lambda *_: MODELS) as url:
        pass
    with pytest.raises(Refusal, match="Is it up"):
        served_at(url)


def test_a_server_writes_no_answers(write, rows, candidate, serving):
    (task,) = choice_tasks("medqa:answer", write(rows), Asking())
    with serving(lambda *_: MODELS) as url, pytest.raises(Refusal, match="not for written answers"):
        list(task.score(served_at(url), candidate, ()))
