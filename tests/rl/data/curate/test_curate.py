"""Whole curations, as the command makes them."""

import dataclasses
import hashlib
import json

import pytest

from rl.config import DataConfig
from rl.config.curate import Curation
from rl.config.sft import SFTRun
from rl.data.curate.curate import curate
from rl.data.curate.page import what_became_of_rows
from rl.data.curate.sheet import Sheet, StepCount
from rl.data.examples import load_examples
from rl.refusal import Refusal
from rl.run.drift import made_with

LONG = "Drink water, rest, and see a doctor when the fever lasts for more than three days or so."


def write(file, *rows):
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return str(file)


def read(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def made(tmp_path):
    def make(*files, **settings):
        out = tmp_path / settings.pop("out", "set")
        curate(Curation(rows=files, out=str(out), **settings))
        return out

    return make


def test_what_is_left_what_was_dropped_and_the_counts_agree(tmp_path, made, capsys):
    first = write(
        tmp_path / "first.jsonl",
        {"text": LONG, "id": "a", "licence": "CC0"},
        {"text": "Too short", "id": "b"},
        {"text": f"  {LONG}  ", "id": "c"},
    )
    second = write(
        tmp_path / "second.jsonl", {"text": f"{LONG} Yes.", "id": "d"}, {"text": "肺炎是一种感染。"}
    )
    folder = made(first, second)
    assert read(folder / "rows.jsonl") == [
        {"text": LONG, "id": "a", "licence": "CC0"},
        {"text": "肺炎是一种感染。"},
    ]
    dropped = read(folder / "dropped.jsonl")
    assert [(each["step"], each["where"], each["why"]) for each in dropped] == [
        ("length", f"{first}, line 2", "2 words"),
        ("exact_duplicates", f"{first}, line 3", f"the same as {first}, line 1"),
        ("near_duplicates", f"{second}, line 1", f"0.94 of {first}, line 1"),
    ]
    sheet = json.loads((folder / "datasheet.json").read_text())
    rows = 5
    for step in sheet["steps"]:
        assert step["rows"] == rows
        rows -= step["dropped"]
    assert rows == sheet["rows"] == sum(sheet["after"]["rows_up_to"].values()) == 2
    assert [(each["rows"], each["kept"], each["licences"]) for each in sheet["sources"]] == [
        (3, 1, {"CC0": 1}),
        (2, 1, {"not said": 1}),
    ]
    markdown = (folder / "datasheet.md").read_text()
    assert all(told in markdown for told in (LONG, sheet["sha"], "CC0 (1)", "shingle_words 3"))
    assert (
        "near_duplicates (threshold 0.7, shingle_words 3): 0 rewritten, 1 dropped"
        in capsys.readouterr().out
    )


def test_the_page_shows_what_was_counted_and_runs_nothing_that_a_row_says(tmp_path, made):
    attack = f"<script>alert(1)</script> {LONG}"
    rows = ({"text": text} for text in (LONG, f" {LONG} Yes. ", attack, "short", attack))
    folder = made(write(tmp_path / "rows.jsonl", *rows))
    page = (folder / "datasheet.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "of those that were read" in page
    sheet = Sheet(**json.loads((folder / "datasheet.json").read_text()))
    steps = [StepCount(**step) for step in sheet.steps]
    figure = what_became_of_rows(dataclasses.replace(sheet, steps=steps))
    for shares in zip(*(trace.x for trace in figure.data), strict=True):
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0
    assert figure.data[-1].x[-1] + figure.data[-2].x[-1] == pytest.approx(4 / 5)


def test_a_run_records_the_hash_that_the_datasheet_says(tmp_path, made):
    folder = made(write(tmp_path / "rows.jsonl", {"text": LONG}))
    rows = folder / "rows.jsonl"
    sha = json.loads((folder / "datasheet.json").read_text())["sha"]
    data = DataConfig(train=str(rows))
    assert made_with(SFTRun(data=data))["data.train (content)"] == sha
    assert hashlib.sha256(rows.read_bytes()).hexdigest().startswith(sha)
    assert [example.answer for example in load_examples(data)[0]] == [LONG]


def test_the_same_rows_are_made_again_to_the_byte(tmp_path, made):
    rows = write(
        tmp_path / "rows.jsonl", *({"text": f"{LONG} {n}" * (n % 3 + 1)} for n in range(40))
    )
    first, again = (made(rows, out=out) / "rows.jsonl" for out in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()


def test_several_columns_are_one_text_and_each_is_rewritten(tmp_path, made):
    rows = write(
        tmp_path / "rows.jsonl", {"question": " What  helps? ", "answer": f"{LONG}\u200b", "n": 1}
    )
    folder = made(rows, text=("question", "answer"))
    assert read(folder / "rows.jsonl") == [{"question": "What helps?", "answer": LONG, "n": 1}]


def test_half_a_character_stops_nothing(tmp_path, made):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": f"\ud83d{LONG}", "id": "\ud83d"}))
    steps = "language=en,exact_duplicates,near_duplicates"
    assert read(made(str(rows), steps=steps) / "rows.jsonl") == [{"text": f"?{LONG}", "id": "?"}]
    assert read(made(str(rows), out="normalised") / "rows.jsonl")[0]["text"] == LONG


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("", "there are no rows in it"),
        ('{"text": "a"}\n{"text": "b', "line 2: not JSON"),
        ('{"text": "a"}\n[1]\n', "line 2: not a JSON object"),
        ('{"text": "a"}\n{"texts": "b"}\n', "line 2: 'text' is missing: did you mean 'texts'?"),
        ('{"text": 5}\n', "line 1: 'text' is 5, which is no text"),
        ('{"text": "a"}\n', "length leaves none of 1 rows"),
    ],
)
def test_rows_that_cannot_be_curated_are_refused_in_a_sentence(tmp_path, made, content, wanted):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(content)
    with pytest.raises(Refusal) as refusal:
        made(str(rows))
    assert wanted in str(refusal.value)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]
