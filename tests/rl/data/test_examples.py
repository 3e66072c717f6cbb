"""Written answers in the forms they come in; a broken one is told by its line."""

import json

import pytest

from rl.config import DataConfig
from rl.data.examples import load_examples
from rl.refusal import Refusal

SYSTEM = {"role": "system", "content": "Be brief."}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


@pytest.fixture
def read(tmp_path):
    def examples(*rows, **config):
        file = tmp_path / "rows.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        data = DataConfig(train=str(file), system_prompt="Be brief.", **config)
        return load_examples(data)[0]

    return examples


@pytest.mark.parametrize(
    ("row", "prompt", "answer", "reasoning"),
    [
        ({"question": " Why? ", "answer": "So. "}, (SYSTEM, user("Why?")), "So.", ""),
        (
            {"question": "Why?", "reasoning": "\nHm.\n", "answer": "So."},
            (SYSTEM, user("Why?")),
            "So.",
            "Hm.",
        ),
        ({"messages": [user("Why?"), assistant("So.")]}, (user("Why?"),), "So.", ""),
        (
            {"messages": [user("Why?"), assistant("So.", reasoning_content="Hm.")]},
            (user("Why?"),),
            "So.",
            "Hm.",
        ),
        ({"prompt": "Why? ", "completion": "So."}, "Why? ", "So.", ""),
        ({"prompt": [user("Why?")], "completion": [assistant("So.")]}, (user("Why?"),), "So.", ""),
        ({"text": " A text.\n"}, "", " A text.\n", ""),
    ],
)
def test_a_row_of_each_form_says_what_was_asked_and_what_is_wanted(
    read, row, prompt, answer, reasoning
):
    (example,) = read(row)
    assert (example.prompt, example.answer, example.reasoning) == (prompt, answer, reasoning)
    assert not example.fault


def test_each_turn_of_an_assistant_is_learnt_after_those_before_it(read):
    turns = [SYSTEM, user("A?"), assistant("a"), user("B?"), assistant("b")]
    first, second = read({"messages": turns})
    assert (first.prompt, first.answer) == ((SYSTEM, user("A?")), "a")
    assert (second.prompt, second.answer) == (tuple(turns[:4]), "b")
    assert (first.id, second.id) == ("rows-1", "rows-1-2")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ({"question": "Why?"}, "'answer' is missing"),
        ({"question": "Why?", "answer": " "}, "'answer' is empty"),
        ({"question": "Why?", "answer": 7}, "'answer' is not text"),
        ({"question": "Why?", "reasoning": "", "answer": "So."}, "'reasoning' is empty"),
        ({"question": "Why?", "reasoning": None, "answer": "So."}, "'reasoning' is empty"),
        ({"messages": []}, "'messages' must be a list"),
        ({"messages": [{"role": "user"}]}, "'messages' must be a list"),
        ({"messages": [user("Why?")]}, "no answer of an assistant"),
        ({"messages": [assistant("So.")]}, "no answer of an assistant"),
        ({"messages": [user("Why?"), assistant(" ")]}, "an empty answer"),
        ({"prompt": "Why?", "completion": " "}, "'completion' is empty"),
        ({"prompt": [user("Why?")], "completion": [user("No.")]}, "one message of the assistant"),
        ({"prompt": [user("Why?")], "completion": "So."}, "'completion' must be a list"),
        ({"title": "x"}, "it has title; wanted is"),
    ],
)
def test_a_broken_row_is_told_by_its_line_and_the_others_are_read(read, row, said):
    good = {"question": "Why?", "answer": "So."}
    first, broken = read(good, row)
    assert not first.fault
    assert said in broken.fault
    assert broken.where.endswith("rows.jsonl, line 2")


def test_rows_held_out_are_not_learnt_from(read, tmp_path):
    rows = [{"question": f"Q{n}?", "answer": "A"} for n in range(6)]
    rows[2]["split"] = "heldout"
    read(*rows)
    train, heldout = load_examples(DataConfig(train=str(tmp_path / "rows.jsonl")))
    assert [row.asked for row in heldout] == ["Q2?"]
    assert len(train) == 5


def test_a_file_without_rows_is_refused(read):
    with pytest.raises(Refusal, match=r"no row to learn from\. A row is question and answer"):
        read()
