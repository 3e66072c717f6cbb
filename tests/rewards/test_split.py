"""The same completions as token ids and as text, in every family, with every kind of marker."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from rewards import Split, split, split_message, split_text

HEADER = "<|im_start|>user\nWhat is <think> for?<|im_end|>\n<|im_start|>assistant\n"
KINDS = ["special", "added", "plain"]
# how each family's prompt looks when it leaves reasoning open, closed, or says nothing of it
PROMPTS = {
    "think": {"open": "<think>\n", "closed": "<think>\n\n</think>\n\n", "absent": ""},
    "mistral": {"open": "[THINK]", "closed": "[THINK]x[/THINK]", "absent": ""},
    "gemma": {
        "open": "<|channel>thought\n",
        "closed": "<|channel>thought\n<channel|>",
        "absent": "",
    },
    "harmony": {
        "open": "<|start|>assistant<|channel|>analysis<|message|>",
        "closed": "<|start|>assistant<|channel|>final<|message|>",
        "absent": "<|start|>assistant",
    },
}
FRAGMENTS = {
    "think": ["<think>", "</think>", "<|channel>"],
    "mistral": ["[THINK]", "[/THINK]", "</think>"],
    "gemma": ["<|channel>", "<channel|>", "<|channel>thought\n"],
    "harmony": [
        "<|channel|>analysis<|message|>",
        "<|start|>assistant<|channel|>final<|message|>",
        *("<|end|>", "<|return|>", "<|start|>", "<|channel|>", "<|message|>"),
    ],
}
WORDS = ["metformin", " is the answer.", "\n\n", " ", "二甲双胍", "é", "< think", "thought\n"]

MakeTokenizer = Callable[..., PreTrainedTokenizerFast]


def ids_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def split_ids(
    tokenizer: PreTrainedTokenizerFast,
    prompt: str,
    completion: str,
    finish_reason: str = "stop",
    family: str = "auto",
) -> Split:
    ids = ids_of(tokenizer, completion)
    return split(ids_of(tokenizer, prompt), ids, tokenizer, finish_reason, family)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", sorted(PROMPTS))
@given(data=st.data())
def test_ids_and_text_are_split_alike(
    tokenizer_with: MakeTokenizer, family: str, kind: str, data: st.DataObject
):
    tokenizer = tokenizer_with(kind, family)
    opening = data.draw(st.sampled_from(["open", "absent"]))
    fragments = st.sampled_from(FRAGMENTS[family] + WORDS)
    text = "".join(data.draw(st.lists(fragments, max_size=12)))
    reason = data.draw(st.sampled_from(["stop", "length"]))
    ending = data.draw(st.sampled_from(["", "<|im_end|>", "<|im_end|><|endoftext|><|endoftext|>"]))

    of_ids = split_ids(tokenizer, HEADER + PROMPTS[family][opening], text + ending, reason, family)

    assert of_ids == split_text(text, opened=opening == "open", finish_reason=reason, family=family)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("family", "completion"),
    [
        ("think", "a</think>\n\nmetformin"),
        ("mistral", "a[/THINK]metformin"),
        ("gemma", "a<channel|>metformin"),
        ("harmony", "a<|end|><|start|>assistant<|channel|>final<|message|>metformin<|return|>"),
    ],
)
def test_the_family_is_found_and_the_prompt_says_that_reasoning_is_open(
    tokenizer_with: MakeTokenizer, family: str, completion: str, kind: str
):
    tokenizer = tokenizer_with(kind, family)
    prompt = HEADER + PROMPTS[family]["open"]
    assert split_ids(tokenizer, prompt, completion + "<|im_end|>") == Split(
        answer="metformin", reasoning="a", status="ok"
    )


@pytest.mark.parametrize("family", ["think", "mistral", "gemma", "harmony"])
def test_the_family_is_found_by_the_vocabulary_where_the_prompt_says_nothing(
    tokenizer_with: MakeTokenizer, family: str
):
    reasons = {
        "think": "<think>a</think>",
        "mistral": "[THINK]a[/THINK]",
        "gemma": "<|channel>thought\na<channel|>",
        "harmony": "<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>",
    }
    found = split_ids(tokenizer_with("special", family), HEADER, reasons[family] + "metformin")
    assert found == Split(answer="metformin", reasoning="a", status="ok")


def test_a_marker_that_vanishes_when_decoded_still_ends_the_reasoning(
    tokenizer_with: MakeTokenizer,
):
    tokenizer = tokenizer_with("special", "think")
    completion = "It is a biguanide.</think>Metformin"
    shown = tokenizer.decode(ids_of(tokenizer, completion), skip_special_tokens=True)
    assert shown == "It is a biguanide.Metformin"
    found = split_ids(tokenizer, HEADER + "<think>\n", completion)
    assert (found.reasoning, found.answer) == ("It is a biguanide.", "Metformin")


def test_tokens_that_merely_spell_a_marker_do_not_end_the_reasoning(tokenizer_with: MakeTokenizer):
    tokenizer = tokenizer_with("special", "think")
    spelled = [id_ for piece in ("</", "think", ">") for id_ in ids_of(tokenizer, piece)]
    ids = [*ids_of(tokenizer, "a"), *spelled, *ids_of(tokenizer, "b</think>c")]
    found = split(ids_of(tokenizer, HEADER + "<think>\n"), ids, tokenizer, "stop")
    assert (found.reasoning, found.answer, found.later_tags) == ("a</think>b", "c", 0)


def test_spelled_markers_count_where_the_real_ones_were_never_used(tokenizer_with: MakeTokenizer):
    tokenizer = tokenizer_with("special", "think")
    pieces = ["<", "think", ">", "a", "</", "think", ">", "b"]
    ids = [id_ for piece in pieces for id_ in ids_of(tokenizer, piece)]
    found = split(ids_of(tokenizer, HEADER), ids, tokenizer, "stop")
    assert (found.reasoning, found.answer) == ("a", "b")


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_closed_block_everything_is_answer(tokenizer_with: MakeTokenizer, kind: str):
    found = split_ids(
        tokenizer_with(kind, "think"),
        HEADER + PROMPTS["think"]["closed"],
        "<think>hidden?</think>no<|im_end|>",
    )
    assert found == Split(
        answer="<think>hidden?</think>no", reasoning="", status="ok", later_tags=2
    )


def test_a_marker_in_the_question_opens_nothing(tokenizer_with: MakeTokenizer):
    found = split_ids(tokenizer_with("added", "think"), HEADER, "It marks reasoning.")
    assert found == Split(answer="It marks reasoning.", reasoning="", status="ok")


def test_a_model_without_reasoning_answers_with_all_it_says(tokenizer_with: MakeTokenizer):
    found = split_ids(tokenizer_with("plain"), HEADER, "metformin<|im_end|>")
    assert found == Split(answer="metformin", reasoning="", status="ok")


@pytest.mark.parametrize(
    ("text", "answer", "reasoning", "later_tags"),
    [
        ("a</think>b", "b", "a", 0),
        ("a<think>b</think>c</think>d", "d", "a<think>b</think>c", 0),
        ("a</think>b</think>c", "b</think>c", "a", 1),
        ("a</think>b<think>c</think>d", "b<think>c</think>d", "a", 2),
        ("</think>b", "b", "", 0),
    ],
)
def test_the_first_close_by_depth_ends_open_reasoning(
    text: str, answer: str, reasoning: str, later_tags: int
):
    assert split_text(text, opened=True, finish_reason="stop") == Split(
        answer=answer, reasoning=reasoning, status="ok", later_tags=later_tags
    )


@pytest.mark.parametrize(
    ("text", "answer", "reasoning", "later_tags"),
    [
        ("b", "b", "", 0),
        (" \n<think>a</think>\n\nb", "b", "a", 0),
        ("<think><think>a</think>b</think>c", "c", "<think>a</think>b", 0),
        ("b<think>a</think>c", "b<think>a</think>c", "", 2),
        ("a</think>b", "a</think>b", "", 1),
        ("<think></think>b", "b", "", 0),
    ],
)
def test_only_leading_reasoning_is_taken_off(
    text: str, answer: str, reasoning: str, later_tags: int
):
    assert split_text(text, opened=False, finish_reason="stop") == Split(
        answer=answer, reasoning=reasoning, status="ok", later_tags=later_tags
    )


@pytest.mark.parametrize(
    ("text", "opened", "finish_reason", "status"),
    [
        ("a</think>b", True, "length", "truncated"),
        ("a</think>", True, "length", "truncated"),
        ("a</think> \n", True, "stop", "empty"),
        ("a</think>\u200b\ufeff", True, "stop", "empty"),
        ("", False, "stop", "empty"),
        ("", True, "stop", "unclosed"),
        ("a", True, "stop", "unclosed"),
        ("a", True, "length", "unclosed"),
        ("<think>a<think>b</think>c", False, "stop", "unclosed"),
        ("b", False, "length", "truncated"),
        ("b", False, None, "ok"),
    ],
)
def test_what_went_wrong_has_a_name(
    text: str, opened: bool, finish_reason: str | None, status: str
):
    assert split_text(text, opened=opened, finish_reason=finish_reason).status == status


def test_reasoning_that_never_closed_leaves_no_answer():
    found = split_text("<think>I am not sure", opened=False, finish_reason="stop")
    assert found == Split(answer="", reasoning="I am not sure", status="unclosed")


@pytest.mark.parametrize(
    ("text", "answer", "reasoning", "status"),
    [
        ("<|channel|>final<|message|>b<|return|>", "b", "", "ok"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis"
            "<|message|>b<|end|><|start|>assistant<|channel|>final<|message|>c",
            *("c", "ab", "ok"),
        ),
        ("<|channel|>analysis<|message|>a<|end|>b", "b", "a", "ok"),
        ("<|channel|>analysis<|message|>a<|end|>", "", "a", "empty"),
        ("<|channel|>analysis<|message|>a", "", "a", "unclosed"),
        (
            "<|channel|>analysis<|message|>a<|start|>assistant<|channel|>final<|message|>b",
            "b",
            "a",
            "ok",
        ),
        ("b", "b", "", "ok"),
        ("b<|return|>", "b", "", "ok"),
    ],
)
def test_harmony_answers_with_the_first_message_that_is_no_analysis(
    text: str, answer: str, reasoning: str, status: str
):
    assert split_text(text, opened=False, finish_reason="stop", family="harmony") == Split(
        answer=answer, reasoning=reasoning, status=status
    )


def test_harmony_hides_no_analysis_after_the_answer_began():
    text = "<|channel|>final<|message|>b<|end|><|start|>assistant<|channel|>analysis<|message|>a"
    found = split_text(text, opened=False, finish_reason="stop", family="harmony")
    assert found.answer == text.removeprefix("<|channel|>final<|message|>")
    assert found.later_tags == 4


def test_gemma_reasoning_goes_without_its_label():
    found = split_text(
        "<|channel>thought\na<channel|>b", opened=False, finish_reason="stop", family="gemma"
    )
    assert found == Split(answer="b", reasoning="a", status="ok")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_a_message_split_by_its_server_is_taken_at_its_word(field: str):
    message = {"role": "assistant", "content": "b<think>c", field: "a\n"}
    assert split_message(message, finish_reason="stop") == Split(
        answer="b<think>c", reasoning="a", status="ok", later_tags=1
    )
    cut = {"content": None, field: "a"}
    assert split_message(cut, finish_reason="length").status == "unclosed"
    assert split_message(cut, finish_reason="stop").status == "empty"


def test_a_message_not_split_by_its_server_is_split_here():
    message = {"content": "<think>a</think>b", "reasoning_content": None}
    found = split_message(message, finish_reason="stop")
    assert (found.answer, found.reasoning) == ("b", "a")


def test_the_family_of_split_servers_takes_nothing_off():
    found = split_text(
        "<think>a</think>b", opened=False, finish_reason="stop", family="reasoning_content"
    )
    assert found.answer == "<think>a</think>b"


def test_an_unknown_family_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"family='harmoni' .* Did you mean harmony\?"):
        split_text("a", opened=False, finish_reason="stop", family="harmoni")
