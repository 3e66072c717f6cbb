"""Kinds, passages, and replies, each by itself."""

import pytest

from judges.axes.axes import load_axes
from judges.client.wire import Reply
from judges.config import JudgeConfig
from judges.verdict import FREE, Faulty
from rl.config.questions import Questions
from rl.data.questions.kinds import load_kinds
from rl.data.questions.make import FILTER
from rl.data.questions.tasks import passages_of
from rl.data.questions.writer import read_written
from rl.refusal import Refusal


def test_the_kinds_and_the_filter_that_come_along_can_be_read():
    kinds = load_kinds()
    assert list(kinds.by_name) == ["recall", "decision", "triage_level", "rule_application"]
    assert "emergency, urgent, routine" in kinds.by_name["triage_level"].wanted
    assert load_axes(FILTER).names == ("relevance", "faithfulness", "realism")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task = 1", "`task` must be there and be text"),
        ("not toml", "is not TOML"),
        ("{words}", r"write \[\[kind\]\]"),
        ('{words}[[kind]]\nname="a"\nwanted="b"\nsections=["metods"]', "mean 'methods'"),
        ('{words}[[kind]]\nname="a"\nwanted="b"\nsections="methods"', "must be a list of texts"),
    ],
)
def test_kinds_that_cannot_be_used_are_refused(tmp_path, text, said):
    file = tmp_path / "kinds.toml"
    file.write_text(text.replace("{words}", 'task="a"\nuntrusted="b"\nreply="c"\n'))
    with pytest.raises(Refusal, match=said):
        load_kinds(str(file))
    with pytest.raises(Refusal, match="cannot be read"):
        load_kinds(str(tmp_path / "none.toml"))


def test_a_passage_is_whole_paragraphs_under_their_headings():
    model = JudgeConfig(backend="deepseek")
    config = Questions(sections="s", out="o", min_chars=20, max_chars=50, writer=model, judge=model)
    section = {"title": "On pain", "path": ["Methods", "Patients"]}
    paragraphs = ["a" * 20, "b" * 20, "c" * 70, "d" * 19]
    assert list(passages_of({**section, "paragraphs": paragraphs}, config)) == [
        f"On pain: Methods > Patients\n\n{'a' * 20}\n\n{'b' * 20}",
        f"On pain: Methods > Patients\n\n{'c' * 70}",
    ]
    assert list(passages_of({**section, "paragraphs": []}, config)) == []


def test_a_reply_is_three_texts_or_three_empty_ones():
    def read(text):
        return read_written(Reply(text=text, truncated=False, usage=FREE))

    whole = '{"sentence": "S.", "question": "Q?", "answer": "A."}'
    assert (read(whole).sentence, read(whole).question, read(whole).answer) == ("S.", "Q?", "A.")
    assert read('{"sentence": "", "question": "", "answer": ""}').question == ""
    for broken in ('{"question": "Q?"}', whole.replace("S.", ""), whole.replace('"A."', "7"), "Q?"):
        with pytest.raises(Faulty):
            read(broken)
