"""What is read of a file or of a hub's columns, and what is refused by its line."""

import shutil

import pyarrow
import pyarrow.parquet
import pytest

from rl.evaluate.choice.describe import choice_names, tasks_called
from rl.evaluate.choice.questions import read_questions
from rl.refusal import Refusal


def read(name, file):
    (description,) = tasks_called(name)
    return read_questions(description, file)


def test_a_letter_an_index_and_an_options_text_name_the_same_answer(write, rows):
    said = {"letter": "C", "index": 2, "text": "Vitamin C"}
    for name, answer in said.items():
        read_ = read("medqa", write([rows[1] | {"answer": answer}], f"{name}.jsonl"))
        assert read_.rows[0].gold == 2


def test_options_may_stand_by_their_letters_and_be_listed_in_the_question_already(write, rows):
    by_letter = dict(zip("ABCD", rows[0]["options"], strict=True))
    listed = "".join(f"\n{letter}. {option}" for letter, option in by_letter.items())
    row = {"question": rows[0]["question"] + listed, "options": by_letter, "answer": "A"}
    (question,) = read("medqa", write([row])).rows
    assert question.question == rows[0]["question"]
    assert question.options == tuple(rows[0]["options"])


def test_a_hubs_columns_are_read_as_its_description_says(write):
    of_hubs = {
        "medqa": {"question": "q?", "answer": "two", "options": {"A": "one", "B": "two"}}
        | {"answer_idx": "B"},
        "medmcqa": {"question": "q?", "opa": "1", "opb": "2", "opc": "3", "opd": "4", "cop": 1},
        "pubmedqa": {"question": "q?", "context": {"contexts": ["a", "b"]}, "final_decision": "no"},
        "cmexam": {"Question": "q?", "Answer": "B"}
        | {"Options": [{"key": "A", "value": "x"}, {"key": "B", "value": "y"}]},
        "hellaswag": {"activity_label": "Run", "ctx_a": "He [step] runs.", "ctx_b": "he"}
        | {"endings": ["stops", "goes [title] on"], "label": "1"},
        "arc_challenge": {"question": "q?", "answerKey": "2"}
        | {"choices": {"text": ["one", "two"], "label": ["1", "2"]}},
        "winogrande": {"sentence": "The _ is big.", "option1": "cup", "option2": "box"}
        | {"answer": "2"},
        "boolq": {"question": "is it", "passage": "It is.", "answer": True},
        "mmlu_anatomy": {"question": "q?", "choices": ["a", "b", "c", "d"], "answer": 1},
        "cmmlu_anatomy": {"Question": "q?", "A": "1", "B": "2", "C": "3", "D": "4", "Answer": "B"},
    }
    for name, row in of_hubs.items():
        (question,) = read(name, write([row], f"{name}.jsonl")).rows
        assert question.gold == 1, name
    context = read("pubmedqa", write([of_hubs["pubmedqa"]], "p.jsonl")).rows[0].context
    assert context == "a\nb"
    goes_on = read("hellaswag", write([of_hubs["hellaswag"]], "h.jsonl")).rows[0]
    assert goes_on.question == "Run: He runs. He"
    assert goes_on.options == ("stops", "goes. on")
    has_sets_of_subjects = {name.partition("_")[0] for name in choice_names()}
    assert {name.partition("_")[0] for name in of_hubs} == has_sets_of_subjects


def test_parquet_gives_every_row_the_letters_of_all_and_only_its_own_are_taken(tmp_path):
    options = [{"A": "one", "B": "two", "C": "three"}, {"A": "one", "B": "two", "C": None}]
    rows = [{"question": f"{n}?", "options": o, "answer": "B"} for n, o in enumerate(options)]
    path = tmp_path / "set.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert [len(question.options) for question in read("medqa", str(path)).rows] == [3, 2]


def test_rows_with_several_answers_are_left_out_and_told_by_line(write, rows):
    several = [rows[0], rows[1] | {"answer": "BD"}, rows[2], rows[3] | {"answer": "A,B,C"}]
    found = read("cmexam", write(several))
    assert [question.item for question in found.rows] == ["cmexam-1", "cmexam-3"]
    assert found.left_out == {"several answers": [2, 4]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": "E"}, "line 2: 'answer' is 'E', which is none of A, B, C, D"),
        ({"answer": 4}, "line 2: 'answer' is 4, and its 4 options go from 0"),
        ({"answer": -1}, "line 2: 'answer' is -1"),
        ({"answer": None}, "line 2: 'answer' is missing"),
        ({"options": None}, "line 2: 'options' is missing"),
        ({"options": ["one"]}, "line 2: 'options' has 1: 2 to 26 are wanted"),
        ({"options": "A or B"}, "line 2: 'options' must be a list"),
        ({"question": " "}, "line 2: 'question' is empty"),
    ],
)
def test_a_row_that_breaks_the_rules_is_refused_by_its_line(write, rows, change, said):
    with pytest.raises(Refusal, match=said):
        read("medqa", write([rows[0], rows[1] | change]))


def test_a_file_without_the_columns_of_the_hub_needs_our_names(write):
    with pytest.raises(Refusal, match="line 1: 'options' is missing"):
        read("medmcqa", write([{"question": "q?", "opa": "1", "answer": "A"}]))


def test_a_row_of_a_hub_whose_columns_do_not_fit_is_refused_by_its_line(write):
    row = {"question": "q?", "choices": {"text": ["one", "two"], "label": ["A", "B"]}}
    with pytest.raises(Refusal, match=r"line 1: its columns do not read .* not in list"):
        read("arc_challenge", write([row | {"answerKey": "C"}]))
    with pytest.raises(Refusal, match="line 2: 'answerKey' is missing"):
        read("arc_challenge", write([row | {"answerKey": "A"}, row], "missing.jsonl"))


def test_a_row_with_an_empty_option_is_left_out(write, rows):
    emptied = [rows[0], rows[1] | {"options": ["Vitamin A", " ", "Vitamin C", None]}]
    assert read("medqa", write(emptied)).left_out == {"an empty option": [2]}


def test_without_the_hub_a_file_is_asked_for():
    with pytest.raises(Refusal, match=r"--tasks medqa: GBaker/.* cannot be had .* give a file"):
        read("medqa", None)


def test_a_set_without_a_question_to_ask_is_refused(write, rows):
    with pytest.raises(Refusal, match="no question to ask"):
        read("medqa", write([]))
    with pytest.raises(Refusal, match=r"no question to ask \(several answers in 1\)"):
        read("medqa", write([rows[0] | {"answer": "AB"}]))


def test_a_name_that_is_unknown_is_answered_with_the_nearest():
    with pytest.raises(Refusal, match="did you mean 'medmcqa'"):
        tasks_called("medmqa")


def test_the_name_of_a_set_of_subjects_means_all_of_them():
    names = [description.name for description in tasks_called("mmlu")]
    assert len(names) == 8
    assert "mmlu_college_biology" in names
    assert "about college biology" in tasks_called("mmlu_college_biology")[0].preface


@pytest.fixture
def fetched(write, tmp_path, monkeypatch):
    """Leaves rows as the hub's library keeps a set that it once fetched, and reads offline."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "fetched")

    def fetched(hub, **splits):
        files = {split: write(rows, f"{split}.jsonl") for split, rows in splits.items()}
        datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "made"))
        (made,) = (info.parent for info in (tmp_path / "made").rglob("dataset_info.json"))
        owner, _, name = hub.rpartition("/")
        name = camelcase_to_snakecase(name)
        place = tmp_path / "fetched" / f"{owner}___{name}" / "default" / "0.0.0" / made.name
        shutil.copytree(made, place)
        for arrow in place.glob("json-*.arrow"):
            arrow.rename(place / arrow.name.replace("json-", f"{name}-"))

    return fetched


def test_a_set_of_the_hub_is_read_by_its_own_columns_from_its_own_split(fetched, rows):
    on_the_hub = [
        {
            "question": row["question"],
            "answer": row["options"]["ABCD".index(row["answer"])],
            "options": dict(zip("ABCD", row["options"], strict=True)),
            "answer_idx": row["answer"],
        }
        for row in rows
    ]
    (description,) = tasks_called("medqa")
    fetched(description.hub, train=on_the_hub[:1], test=on_the_hub)
    found = read_questions(description)
    assert [question.question for question in found.rows] == [row["question"] for row in rows]
    assert [question.letters[question.gold] for question in found.rows] == [
        row["answer"] for row in rows
    ]
    assert found.source == "GBaker/MedQA-USMLE-4-options test"
