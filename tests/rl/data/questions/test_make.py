"""From sections to questions, over HTTP."""

import json
from collections import Counter

import pytest

from judges.config import JudgeConfig
from rl.config import DataConfig
from rl.config.questions import Questions
from rl.data.examples import load_examples
from rl.data.questions.make import make_questions, split_by_article
from rl.refusal import Refusal

ASKED = 9 * 2 * 4
"""Nine clinical articles of two sections that are results, which four kinds are written from."""


def test_every_question_that_was_asked_for_is_kept_or_dropped_with_a_reason(
    settings, rows_of, tmp_path, stub_writer, capsys
):
    make_questions(settings())
    train, heldout, dropped = map(rows_of, ("train", "heldout", "dropped"))
    ids = [row["id"] for row in (*train, *heldout, *dropped)]
    assert len(ids) == len(set(ids)) == ASKED == len(stub_writer.answered)
    assert {row["why"] for row in dropped} == {
        "no basis for a question",
        "its sentence is not in the section",
        "low relevance, faithfulness, realism",
        "repeats another",
    }
    assert all(row["rationale"] for row in dropped if row["why"].startswith("low"))
    assert not rows_of("missing")
    assert (
        f"{ASKED} questions asked for, {ASKED} came to an end (100.0%)" in capsys.readouterr().out
    )
    row = train[0]
    assert row["scores"] == {"relevance": 2, "faithfulness": 2, "realism": 2}
    assert row["licence"] == "cc-by-4.0"
    for kept in (*train, *heldout):
        assert kept["sentence"] in kept["passage"].split("\n\n", 1)[1]
    assert row["id"].startswith(row["section"])
    assert row["section"].startswith(row["article"])
    summary = json.loads((tmp_path / "questions" / "summary.json").read_text())
    assert summary["spent"]["writer"]["calls"] == ASKED
    assert summary["config"]["judge"]["model"] == "stub"


def test_no_article_is_in_both_splits_and_fine_tuning_takes_the_rows_as_they_are(
    settings, rows_of, tmp_path
):
    make_questions(settings())
    train, heldout = rows_of("train"), rows_of("heldout")
    assert not {row["article"] for row in train} & {row["article"] for row in heldout}
    assert 0.05 * len(train + heldout) <= len(heldout) <= 0.25 * len(train + heldout)
    folder = tmp_path / "questions"
    data = DataConfig(train=f"{folder}/train.jsonl", heldout=f"{folder}/heldout.jsonl")
    to_learn, to_measure = load_examples(data)
    assert [example.answer for example in to_learn] == [row["answer"] for row in train]
    assert {example.id for example in to_measure} == {row["id"] for row in heldout}
    assert not any(example.fault for example in (*to_learn, *to_measure))


def test_the_same_command_again_asks_for_nothing_and_writes_the_same(
    settings, tmp_path, stub_writer
):
    config = settings()
    make_questions(config)
    folder = tmp_path / "questions"
    before = {path.name: path.read_bytes() for path in folder.glob("*.json*")}
    make_questions(config)
    assert len(stub_writer.answered) == ASKED
    assert {path.name: path.read_bytes() for path in folder.glob("*.json*")} == before


def test_a_fault_is_neither_kept_nor_dropped_and_is_asked_again(
    settings, rows_of, tmp_path, capsys
):
    config = settings(faults="refusal=0.3,truncated=0.1", ask_again=0)
    make_questions(config)
    missing = rows_of("missing")
    ended = [row["id"] for name in ("train", "heldout", "dropped") for row in rows_of(name)]
    assert Counter(ended + [row["id"] for row in missing]).most_common(1)[0][1] == 1
    assert len(ended) + len(missing) == ASKED
    assert {row["cause"] for row in missing} == {"refused", "truncated"}
    assert {row["by"] for row in missing} == {"writer", "judge"}
    assert f"no answer {len(missing)}: " in capsys.readouterr().out
    for _ in range(20):
        if not rows_of("missing"):
            break
        make_questions(config)
    assert not rows_of("missing")
    summary = json.loads((tmp_path / "questions" / "summary.json").read_text())
    assert summary["spent"]["writer"]["calls"] > ASKED


def test_near_repeats_are_dropped_and_name_what_they_repeat(settings, rows_of):
    make_questions(settings(near=0.5))
    repeated = [row for row in rows_of("dropped") if row["why"] == "repeats another"]
    kept = {row["id"] for row in rows_of("train") + rows_of("heldout")}
    assert repeated
    assert all(row["repeats"] in kept for row in repeated)


def test_a_limit_draws_the_same_questions_by_the_same_seed(settings, rows_of, stub_writer):
    make_questions(settings(limit=30, seed=3))
    assert len(stub_writer.answered) == 30


def test_articles_are_split_whole_and_one_alone_is_trained_on():
    rows = [{"article": f"PMC{n % 40}", "n": n} for n in range(1000)]
    split = split_by_article(rows, 0.05, seed=1)
    heldout = [row for row in split if row["split"] == "heldout"]
    assert len(heldout) == 50
    assert len({row["article"] for row in heldout}) == 2
    assert split == split_by_article(rows, 0.05, seed=1)
    assert [row["n"] for row in split] == list(range(1000))
    assert {row["split"] for row in split_by_article(rows[:1], 0.5, seed=1)} == {"train"}


def test_a_dry_run_prices_both_and_asks_nothing(settings, tmp_path, capsys, stub_writer):
    price = {"usd_per_m_in": 1.0, "usd_per_m_out": 1.0}
    asked = JudgeConfig(backend="custom", model="m", url="http://127.0.0.1:9/v1", **price)
    make_questions(settings(dry_run=True, writer=asked, judge=asked))
    said = capsys.readouterr().out
    assert f"{ASKED} questions from 9 articles" in said
    assert said.count(f"about {ASKED} calls") == 2
    assert said.count("money: about $") == 2
    assert not stub_writer.answered
    assert not (tmp_path / "questions").exists()


def test_a_writer_that_is_not_there_is_refused_by_its_name(settings):
    gone = JudgeConfig(
        backend="custom", model="m", url="http://127.0.0.1:9/v1", retries=0, deadline_s=5
    )
    with pytest.raises(Refusal, match=r"the writer answered nothing: .*--writer.url"):
        make_questions(settings(writer=gone, ask_again=0))
    with pytest.raises(Refusal, match=r"writer.url is missing"):
        make_questions(settings(writer=JudgeConfig(backend="custom")))


def test_a_budget_that_is_spent_leaves_the_rest_for_another_time(
    settings, rows_of, served, stub_writer
):
    url = served(stub_writer)
    writer = JudgeConfig(backend="custom", model="m", url=url, max_calls=20)
    make_questions(settings(writer=writer))
    assert len(stub_writer.answered) == 20
    assert {(row["by"], row["cause"]) for row in rows_of("missing")} == {("writer", "budget")}


def test_when_nothing_is_kept_it_says_why(settings, rows_of):
    with pytest.raises(Refusal, match=r"no question was kept: .*low relevance"):
        make_questions(settings(min_relevance=5))
    assert len(rows_of("dropped")) == ASKED


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"min_realism": 6}, "min_realism is 6"),
        ({"max_chars": 10}, "max_chars is 10"),
        ({"near": 2.0}, "near is 2.0"),
        ({"writer": JudgeConfig()}, "writer.backend is rules"),
        ({"judge": JudgeConfig(backend="deepseek", samples=3)}, "judge.samples is 3"),
    ],
)
def test_settings_that_make_no_sense_are_refused(own, said):
    model = JudgeConfig(backend="deepseek")
    with pytest.raises(ValueError, match=said):
        Questions(sections="s", out="o", **{"writer": model, "judge": model} | own)


def test_sections_that_cannot_be_used_are_refused(settings, sections):
    config = settings()
    sections.write_text('{"id": "a"}\n')
    with pytest.raises(Refusal, match=r"line 1: `article` must be there"):
        make_questions(config)
    sections.write_text("")
    with pytest.raises(Refusal, match="no section that a question could be written from"):
        make_questions(config)
    sections.unlink()
    with pytest.raises(Refusal, match="no such file"):
        make_questions(config)
