"""A server in the policy's place. This one has the tiny policy and speaks as vLLM does."""

import json

import pytest

from rl.config.evaluate import EvaluateRun
from rl.config.shared import DataConfig
from rl.evaluate.choice.task import Asking, choice_tasks
from rl.evaluate.columns import columns_of
from rl.evaluate.opened import candidate_of, facts_of, opened
from rl.evaluate.served import served_at
from rl.evaluate.text.perplexity import perplexity_tasks
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


@pytest.mark.parametrize("says_tokens", [True, False])
def test_a_server_writes_answers(write, rows, candidate, serving, says_tokens):
    (task,) = choice_tasks("medqa:answer", write(rows[:3]), Asking(max_new_tokens=6))
    asked = []

    def answer(path, body):
        if body is None:
            return MODELS
        asked.append(body)
        said = {"text": "Answer: C", "finish_reason": "stop"}
        if says_tokens:
            said["token_ids"] = candidate.tokenizer.encode("Answer: C<|im_end|>")
        return 200, {"choices": [said]}

    with serving(answer) as url:
        scores = list(task.score(served_at(url, "mine"), candidate, task.items[:1]))
    assert [score.shown["picked"] for score in scores] == ["C", "C"]
    assert [score.values["cut_off"] for score in scores] == [0, 0]
    first = asked[0]
    assert (first["model"], first["temperature"], first["max_tokens"]) == ("mine", 0.0, 6)
    assert "Which " in candidate.tokenizer.decode(first["prompt"])


SMALL = {"id": "base", "root": "tiny-qwen3.5-closed", "max_model_len": 64}
ADAPTED = {"id": "mine", "root": "/elsewhere", "parent": "base"}


def test_a_column_may_be_a_server_and_is_asked_as_its_base_is(serving):
    def columns(entry):
        return columns_of(EvaluateRun(columns=(entry,)))

    with serving(lambda *_: (200, {"data": [SMALL, ADAPTED]})) as url:
        (base,), (mine,) = columns(f"there={url}/v1/"), columns(f"{url}#mine")
        with pytest.raises(Refusal, match=r"serves no 'other'"):
            columns(f"{url}#other")
        with pytest.raises(Refusal, match="no key is sent") as refused:
            columns(f"{url.replace('//', '//me:hidden@')}/v1")
    assert "hidden" not in str(refused.value)
    assert (base.label, mine.label) == ("there", "mine")
    for column, model in ((base, "base"), (mine, "mine")):
        candidate = candidate_of(column)
        assert (candidate.window, candidate.is_served) == (64, True)
        assert facts_of(column, candidate)["served"] == f"{model} at {url}"
        with opened(column, candidate, seed=0) as policy:
            assert policy.model == model
    (page,) = perplexity_tasks("medical_en", DataConfig(), flag="--tasks", most_documents=1)
    with pytest.raises(Refusal, match="perplexity wants the weights here"):
        page.check(candidate)


def test_a_server_whose_tokenizer_is_not_here_is_refused(serving):
    with serving(lambda *_: (200, {"data": [{"id": "gpt", "root": "/not/here"}]})) as url:
        (column,) = columns_of(EvaluateRun(columns=(url,)))
    with pytest.raises(Refusal, match="column gpt: its server has its base from /not/here"):
        candidate_of(column)
