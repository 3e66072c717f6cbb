"""Perplexity against formulas written out a token at a time in float64."""

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from rl.config import DataConfig, PolicyConfig
from rl.evaluate.task import Candidate, Score
from rl.evaluate.text.documents import Document
from rl.evaluate.text.perplexity import Perplexity, perplexity_tasks, windows
from rl.policy.load import load_policy, load_tokenizer
from rl.policy.models import resolve_model
from rl.refusal import Refusal

TEXTS = {
    "short": "Insulin lowers blood sugar.",
    "long": "The pancreas makes insulin, and insulin lowers blood sugar after a meal. " * 2,
    "chinese": "胰岛素由胰腺分泌，能降低血糖。",
    "one token": "A",
}
DOCUMENTS = [Document(item=item, text=text) for item, text in TEXTS.items()]
TINY = "tiny-qwen3.5-closed"


@pytest.fixture(scope="module")
def policy():
    """In float64, so that what is left between two formulas is not the model's rounding."""
    config = PolicyConfig(model=TINY, dtype="float32", lora_targets=("down_proj",))
    policy = load_policy(config, load_tokenizer(config), seed=0)
    policy.model.double()
    return policy


@pytest.fixture(scope="module")
def candidate(policy):
    return Candidate(tokenizer=policy.tokenizer, window=4096)


@pytest.fixture(scope="module")
def exact():
    """The same weights in float64, without an adapter."""
    return AutoModelForCausalLM.from_pretrained(resolve_model(TINY), dtype=torch.float64)


def task(**settings):
    return Perplexity("perplexity-tiny", DOCUMENTS, of_data={}, **settings)


def nats_of_next(model, before, token):
    with torch.no_grad():
        return -model(torch.tensor([before])).logits[0, -1].log_softmax(-1)[token].item()


def naive_nats(model, ids, longest, stride):
    """A forward pass for each token, on what its window has before it."""
    nats = []
    for place in range(1, len(ids)):
        begin = 0
        if place >= longest:
            windows_on = math.ceil((place + 1 - longest) / stride)
            begin = min(longest + windows_on * stride, len(ids)) - longest
        nats.append(nats_of_next(model, ids[begin:place], ids[place]))
    return nats


@pytest.mark.parametrize(("longest", "stride"), [(None, None), (16, 4), (8, 7)])
def test_perplexity_is_that_of_a_token_at_a_time_in_float64(
    policy, candidate, exact, longest, stride
):
    scores = {s.item: s for s in task(window=longest, stride=stride).score(policy, candidate, ())}
    assert scores.keys() == TEXTS.keys()
    ids = {item: policy.tokenizer(text)["input_ids"] for item, text in TEXTS.items()}
    nats = {
        item: naive_nats(exact, tokens, longest or 4096, stride or 2048)
        for item, tokens in ids.items()
    }
    for item, score in scores.items():
        assert score.values["tokens"] == len(nats[item])
        assert score.values["nats"] == pytest.approx(sum(nats[item]), rel=1e-9)
    every = [each for one in nats.values() for each in one]
    bits, per_token, _ = (metric.of(list(scores.values())) for metric in Perplexity.metrics)
    assert per_token == pytest.approx(math.exp(sum(every) / len(every)), rel=1e-9)
    bytes_ = sum(
        len(text.encode()) - len(policy.tokenizer.decode(ids[item][:1]).encode())
        for item, text in TEXTS.items()
    )
    assert bits == pytest.approx(sum(every) / math.log(2) / bytes_, rel=1e-9)


@pytest.mark.parametrize(
    ("tokens", "longest", "stride"), [(1, 4, 2), (4, 4, 2), (23, 8, 3), (9, 8, 7)]
)
def test_every_token_after_the_first_is_scored_once(tokens, longest, stride):
    scored = [
        place
        for window in windows(tokens, longest=longest, stride=stride)
        for place in range(window.scored, window.end)
    ]
    assert scored == list(range(1, tokens))
    for window in windows(tokens, longest=longest, stride=stride):
        assert 0 <= window.begin < window.scored
        assert window.tokens <= longest


def test_what_is_done_is_not_scored_again(policy, candidate):
    whole = {s.item: s for s in task(window=16).score(policy, candidate, ())}
    rest = {s.item: s for s in task(window=16).score(policy, candidate, {"short", "chinese"})}
    assert rest.keys() == {"long", "one token"}
    assert rest["long"].values["nats"] == pytest.approx(whole["long"].values["nats"], rel=1e-9)


def test_domains_are_tasks_of_their_own(tmp_path):
    rows = [
        {"text": "A page.", "domain": "web"},
        {"question": "Which?", "answer": "This.", "domain": "exam"},
        {"prompt": "Once ", "completion": "upon a time", "domain": "web"},
    ]
    file = tmp_path / "pages.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    web, exam = perplexity_tasks(str(file), DataConfig(), flag="--perplexity")
    assert (web.name, sorted(web.items)) == ("perplexity-web", ["pages-1", "pages-3"])
    assert (exam.name, exam.items) == ("perplexity-exam", ["pages-2"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"text": "  "}', "'text' is empty"),
        ('{"question": "Which?"}', "it has question; wanted is"),
        ("{", "not JSON"),
    ],
)
def test_a_row_without_text_is_named_by_its_line(tmp_path, row, said):
    file = tmp_path / "pages.jsonl"
    file.write_text('{"text": "A page."}\n' + row + "\n")
    with pytest.raises(Refusal, match="line 2") as refused:
        perplexity_tasks(str(file), DataConfig(), flag="--perplexity")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 8192}, "the model's own is 4096"),
        ({"window": 16, "stride": 16}, "Give a stride under 16"),
    ],
)
def test_windows_that_leave_something_out_are_refused(candidate, settings, said):
    with pytest.raises(Refusal, match=said):
        task(**settings).check(candidate)


def test_what_is_not_finite_is_no_perplexity():
    broken = Score(item="a", values={"nats": math.nan, "tokens": 3, "bytes": 9}, shown={})
    with pytest.raises(Refusal, match="a has nan nats"):
        task().hold([broken])
