"""Records from wherever they lie, under our names."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from rl.config import DataConfig
from rl.data.rows import load_rows
from rl.data.source import is_hub_id
from rl.refusal import Refusal

NAMED = ("question=Question", "answer=Response")
ROWS = [{"Question": f"What is {n}?", "Response": f"It is {n}."} for n in range(20)]


@pytest.fixture
def jsonl(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(file)


@pytest.fixture
def parquet(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    return str(tmp_path / "rows.parquet")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_columns_of_other_names_are_read_by_the_names_they_are_given(kind, request):
    config = DataConfig(train=request.getfixturevalue(kind), fields=NAMED)
    train, _ = load_rows(config)
    asked = [(row.question, row.answer) for row in train]
    assert asked == [(row["Question"], row["Response"]) for row in ROWS]
    assert train[4].id == "rows-5"


def test_a_column_that_is_not_there_is_named_with_its_nearest(jsonl):
    config = DataConfig(train=jsonl, fields=("question=Question", "answer=Respnse"))
    with pytest.raises(Refusal, match=r"answer=Respnse: .*no such column: did you mean 'Response'"):
        load_rows(config)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("question", "write ours=theirs"),
        ("question=", "write ours=theirs"),
        ("questin=Question", "did you mean 'question'"),
    ],
)
def test_a_field_map_that_says_nothing_is_refused(entry, said):
    with pytest.raises(ValueError, match=said):
        DataConfig(fields=(entry,))


def test_a_sample_is_kept_back_the_same_one_every_time_and_never_trained_on(jsonl):
    config = DataConfig(train=jsonl, fields=NAMED, heldout="sample", heldout_rows=5)
    train, heldout = load_rows(config)
    assert (len(train), len(heldout)) == (15, 5)
    assert not {row.question for row in train} & {row.question for row in heldout}
    assert load_rows(config)[1] == heldout
    fewer = DataConfig(train=jsonl, fields=NAMED, heldout="sample", heldout_rows=3)
    assert load_rows(fewer)[1] == heldout[:3]
    everything = DataConfig(train=jsonl, fields=NAMED, heldout="sample", heldout_rows=99)
    assert len(load_rows(everything)[0]) == 1


def test_a_question_asked_twice_is_kept_back_whole(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [{"question": f"Q{n % 5}?", "answer": str(n)} for n in range(20)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    train, heldout = load_rows(DataConfig(train=str(file), heldout="sample", heldout_rows=2))
    assert (len(train), len(heldout)) == (12, 2)
    assert not {row.question for row in train} & {row.question for row in heldout}


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "rows.parquet").write_text("no")
    with pytest.raises(Refusal, match=r"rows\.parquet: not a Parquet file"):
        load_rows(DataConfig(train=str(tmp_path / "rows.parquet")))


@pytest.mark.parametrize("setting", ["subset", "split"])
def test_a_setting_for_the_hub_is_refused_where_there_is_a_file(jsonl, setting):
    with pytest.raises(Refusal, match=f"data.{setting} is zh and .* is a file"):
        load_rows(DataConfig(train=jsonl, fields=NAMED, **{setting: "zh"}))


def test_a_hub_that_cannot_be_reached_is_a_sentence():
    with pytest.raises(Refusal) as told:
        load_rows(DataConfig(train="owner/name", subset="zh"))
    assert str(told.value).startswith("--data.train owner/name zh cannot be had from the hub (")
    assert "or give a file" in str(told.value)
    assert "\n" not in str(told.value)


def test_an_id_of_the_hub_is_told_from_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rows").write_text("")
    names = ["owner/name", "mine/rows", "./mine/rows", "a/b.jsonl", "medical_en", "a/b/c"]
    assert [is_hub_id(name) for name in names] == [True, False, False, False, False, False]
