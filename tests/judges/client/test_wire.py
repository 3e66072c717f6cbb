import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges.client.backends import ROWS
from judges.client.features import Features
from judges.client.wire import WIRES, Ask, read_reply
from judges.rubric.prompt import Prompt
from judges.verdict import FaultCause, Faulty, JudgeRequest

FIELDS = (
    *("choices", "message", "content", "refusal", "usage", "logprobs", "type", "text", "input"),
    *("prompt_tokens", "stop_reason", "finish_reason", "top_logprobs"),
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(FIELDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=ANY_JSON, row=st.sampled_from(["custom", "anthropic"]))
@settings(max_examples=300, deadline=None)
def test_any_json_at_all_is_a_reply_or_a_named_fault(body, row):
    with contextlib.suppress(Faulty):
        read_reply(ROWS[row], json.dumps(body).encode())


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_at_all_are_a_bad_reply(body):
    with pytest.raises(Faulty) as caught:
        read_reply(ROWS["custom"], body)
    assert caught.value.cause is FaultCause.BAD_REPLY


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": "Tier: "}, {"type": "text", "text": "same"}]
    body = {"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}
    assert read_reply(ROWS["custom"], json.dumps(body).encode()).text == "Tier: same"


def test_reasoning_that_the_backend_split_off_is_not_the_reply():
    message = {"content": "same", "reasoning_content": "tier: contradicts?"}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    assert read_reply(ROWS["custom"], json.dumps(body).encode()).text == "same"


def test_what_is_written_to_anthropics_cache_costs_a_quarter_more():
    usage = {"input_tokens": 20, "cache_creation_input_tokens": 4000, "output_tokens": 9}
    body = {"content": [], "stop_reason": "end_turn", "usage": usage}
    bill = read_reply(ROWS["anthropic"], json.dumps(body).encode()).usage
    assert bill.input_tokens == 4020
    assert bill.usd == pytest.approx((20 + 4000 * 1.25 + 9 * 5.0) / 1e6)


@pytest.mark.parametrize(("words", "is_cached"), [(500, False), (5000, True)])
def test_a_system_prompt_is_marked_for_the_cache_where_its_model_would_keep_it(words, is_cached):
    prompt = Prompt(system="word " * words, user="Grade it.")
    request = JudgeRequest(question="Q?", truth="T", answer="A")
    ask = Ask(key="", request=request, prompt=lambda _: prompt, schema={}, max_tokens=9)
    features = Features(form="json_schema", logprobs=False)
    (system,) = WIRES["anthropic"].body(ROWS["anthropic"], ask, features)["system"]
    assert ("cache_control" in system) == is_cached


def test_log_probs_are_read_position_by_position():
    top = [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2.5}]
    position = {"token": "A", "logprob": -0.1, "top_logprobs": top}
    body = {"choices": [{"message": {"content": "A"}, "logprobs": {"content": [position]}}]}
    reply = read_reply(ROWS["custom"], json.dumps(body).encode())
    assert reply.logprobs == [("A", {"A": -0.1, "B": -2.5})]
