import json

import pytest

from rl.config import DataConfig
from rl.data.rows import load_rows, to_prompts


def written(tmp_path, *lines):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


GOOD = json.dumps({"question": "Which organ pumps blood?", "answer": "Heart"})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 3: not JSON"),
        ("[1]", "line 3: not a JSON object"),
        ('{"question": "Why?"}', "line 3: 'answer' is missing or empty"),
        ('{"question": " ", "answer": "x"}', "line 3: 'question' is missing or empty"),
        ('{"question": "Why?", "answer": "x", "aliases": "y"}', "line 3: 'aliases' must be a list"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, line, said):
    with pytest.raises(ValueError, match=said):
        load_rows(DataConfig(train=str(written(tmp_path, GOOD, "", line))))


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path):
    row = {"question": "Which organ\u2028pumps blood?", "answer": "Heart"}
    file = written(tmp_path, json.dumps(row, ensure_ascii=False))
    assert [read.question for read in load_rows(DataConfig(train=str(file)))[0]] == [
        row["question"]
    ]


def test_an_empty_set_says_what_a_row_looks_like(tmp_path):
    file = written(tmp_path)
    with pytest.raises(ValueError, match="no row to train on"):
        load_rows(DataConfig(train=str(file)))


def test_a_file_that_is_not_text_is_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        load_rows(DataConfig(train=str(file)))


def test_no_question_is_both_trained_on_and_held_out(tmp_path):
    train, heldout = load_rows(DataConfig(train="medical_en", heldout_rows=1000))
    assert not {row.question for row in train} & {row.question for row in heldout}
    rows = written(tmp_path, GOOD)
    train, heldout = load_rows(DataConfig(train=str(rows), heldout=str(rows)))
    assert len(train) == 1
    assert heldout == []


def test_the_heldout_sample_is_the_same_every_time():
    config = DataConfig(heldout_rows=10)
    assert load_rows(config)[1] == load_rows(config)[1]
    assert len(load_rows(config)[1]) == 10


class WordTokenizer:
    """One token a word: enough of a tokenizer to count with."""

    def apply_chat_template(self, messages, **options):
        self.options = options
        return [len(word) for message in messages for word in message["content"].split()]


def test_prompts_longer_than_the_window_are_counted_and_left_out():
    train, _ = load_rows(DataConfig())
    tokenizer = WordTokenizer()
    config = DataConfig(system_prompt="")
    everything, none = to_prompts(train, tokenizer, config, max_tokens=1000)
    some, dropped = to_prompts(train, tokenizer, config, max_tokens=6)
    assert (len(everything), none) == (len(train), 0)
    assert 0 < len(some) < len(train)
    assert len(some) + dropped == len(train)
    assert all(len(prompt.token_ids) <= 6 for prompt in some)


def test_thinking_reaches_the_template_only_when_it_is_set():
    train, _ = load_rows(DataConfig())
    tokenizer = WordTokenizer()
    to_prompts(train[:1], tokenizer, DataConfig(), max_tokens=99)
    assert "enable_thinking" not in tokenizer.options
    to_prompts(train[:1], tokenizer, DataConfig(thinking=False), max_tokens=99)
    assert tokenizer.options["enable_thinking"] is False
