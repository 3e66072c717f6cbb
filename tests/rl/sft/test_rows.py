"""Examples as tokens: the prompt is the one a policy is sampled from, the rest goes on from it."""

import json

import pytest

from rl.config import DataConfig
from rl.data.examples import Example
from rl.data.rows import Row, to_prompts
from rl.policy.models import resolve_model
from rl.sft.rows import to_token_rows

DATA = DataConfig(system_prompt="Be brief.")
ASKED = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why? 为什么?"})
OPEN, CLOSED, NONE = "tiny-qwen3.5", "tiny-qwen3.5-closed", "smollm2-135m"


def tokenizer_of(name):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(resolve_model(name))


def example(answer="Because.", reasoning="", prompt=ASKED):
    return Example(id="a", where="line 1", prompt=prompt, answer=answer, reasoning=reasoning)


def rendered(name, *examples, thinking=None, max_tokens=200, **options):
    tokenizer = tokenizer_of(name)
    rows, left_out = to_token_rows(
        examples, tokenizer, thinking=thinking, max_tokens=max_tokens, **options
    )
    return tokenizer, rows, left_out


def reason(name, *examples, **options):
    _, rows, left_out = rendered(name, *examples, **options)
    assert not rows
    (only,) = left_out
    assert only.where == "line 1"
    return only.reason


@pytest.mark.parametrize(
    ("name", "reasoning", "thinking"),
    [
        (NONE, "", None),
        (OPEN, "", False),
        (OPEN, "Hm.\n\nSo.", None),
        (OPEN, "Hm.\n\nSo.", True),
        (CLOSED, "", None),
        (CLOSED, "", False),
        (CLOSED, "Hm.\n\nSo.", None),
    ],
)
def test_a_row_goes_on_from_the_prompt_that_a_policy_is_sampled_from(name, reasoning, thinking):
    tokenizer, (row,), _ = rendered(name, example(reasoning=reasoning), thinking=thinking)
    sampled = DataConfig(system_prompt="Be brief.", thinking=True if reasoning else thinking)
    asked = Row(id="a", question=ASKED[1]["content"], answer="")
    (prompt,), _ = to_prompts([asked], tokenizer, sampled, 200)
    assert row.token_ids[: row.prompt_tokens] == prompt.token_ids
    learnt = tokenizer.decode(row.token_ids[row.prompt_tokens :])
    think = f"<think>\n{reasoning}\n</think>\n\n" if reasoning else ""
    whole = tokenizer.decode(row.token_ids)
    assert whole.endswith(f"{think}Because.<|im_end|>")
    assert learnt == f"{think}Because.<|im_end|>".removeprefix("<think>\n")
    assert row.token_ids[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("name", [OPEN, CLOSED, NONE])
def test_an_earlier_turn_is_part_of_the_prompt(name):
    turns = (*ASKED, {"role": "assistant", "content": "A."}, {"role": "user", "content": "And?"})
    tokenizer, (row,), _ = rendered(name, example("B.", prompt=turns), thinking=False)
    assert "A.<|im_end|>" in tokenizer.decode(row.token_ids[: row.prompt_tokens])
    assert tokenizer.decode(row.token_ids[row.prompt_tokens :]) == "B.<|im_end|>"


@pytest.mark.parametrize(
    ("name", "row", "thinking", "said"),
    [
        (NONE, example(reasoning="Hm."), None, "the chat template has no think block"),
        (OPEN, example(), None, "opens a think block. Type --data.thinking False"),
        (CLOSED, example(), True, "has no reasoning and data.thinking is True"),
        (NONE, example("A <|im_end|> within."), None, "holds the token that ends an answer"),
        (OPEN, example("A </think> within."), False, "does not render it as its prompt"),
        (NONE, example("word " * 300), None, "more than sft.max_tokens 200"),
    ],
)
def test_a_row_that_cannot_be_learnt_as_it_would_be_sampled_is_left_out_with_the_reason(
    name, row, thinking, said
):
    assert said in reason(name, row, thinking=thinking)


def test_with_thinking_off_the_answer_is_learnt_alone():
    for name in (OPEN, CLOSED, NONE):
        _, alone, _ = rendered(name, example(), thinking=False)
        _, both, _ = rendered(name, example(reasoning="Hm."), thinking=False)
        assert [row.token_ids for row in both] == [row.token_ids for row in alone]


def test_a_template_that_drops_reasoning_is_found_out():
    tokenizer = tokenizer_of(OPEN)
    tokenizer.chat_template = tokenizer.chat_template.replace("reasoning.strip()", "''")
    rows, (left_out,) = to_token_rows(
        [example(reasoning="Hm.")], tokenizer, thinking=None, max_tokens=200
    )
    assert not rows
    assert "does not render it as its prompt and what follows" in left_out.reason


def test_plain_text_goes_on_from_plain_text_and_ends():
    tokenizer, (row,), _ = rendered(NONE, example("is blue.", prompt="The sky "))
    assert tokenizer.decode(row.token_ids[: row.prompt_tokens]) == "The sky "
    assert tokenizer.decode(row.token_ids[row.prompt_tokens :]) == "is blue.<|im_end|>"


def test_a_long_text_is_cut_into_parts_and_nothing_is_lost():
    text = " ".join(str(n) for n in range(100))
    tokenizer, rows, left_out = rendered(NONE, example(text, prompt=""), max_tokens=64)
    assert len(rows) > 3
    assert not left_out
    together = [token for row in rows for token in row.token_ids]
    assert tokenizer.decode(together) == text + "<|im_end|>"
    assert all(row.labels()[0] == -100 and -100 not in row.labels()[1:] for row in rows)


@pytest.mark.parametrize("overlap", [1, 16, 63])
@pytest.mark.parametrize("words", [1, 16, 31, 100])
def test_parts_that_overlap_make_their_texts_again_and_learn_each_token_once(overlap, words):
    texts = [" ".join(f"{place}{n}" for n in range(words)) for place in "ab"]
    tokenizer, rows, _ = rendered(
        NONE,
        *(example(text, prompt="") for text in texts),
        max_tokens=64,
        overlap_tokens=overlap,
    )
    made: list[list[int]] = []
    for row in rows:
        if row.prompt_tokens:
            assert row.token_ids[:overlap] == made[-1][-overlap:]
            assert row.labels()[:overlap] == [-100] * overlap
        else:
            made.append([])
        made[-1] += row.token_ids[row.prompt_tokens :]
        assert len(row.token_ids) <= 64
    assert [tokenizer.decode(ids) for ids in made] == [f"{text}<|im_end|>" for text in texts]
    learnt = sum(label != -100 for row in rows for label in row.labels())
    assert learnt == sum(len(ids) - 1 for ids in made)


def test_what_is_learnt_is_decided_by_position_and_not_by_what_is_written():
    """The answer's own words stand in the prompt too, markers and all."""
    answer = "Because."
    twice = (ASKED[0], {"role": "user", "content": f"Say {answer} {answer}"})
    _, (row,), _ = rendered(CLOSED, example(answer, prompt=twice))
    labels = row.labels()
    assert labels[: row.prompt_tokens] == [-100] * row.prompt_tokens
    assert labels[row.prompt_tokens :] == row.token_ids[row.prompt_tokens :]
    assert json.dumps(labels).count("-100") == row.prompt_tokens
