"""The project's own questions: well formed, split without a leak, and unambiguous to a judge."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LANGS = ("en", "zh")
QUESTION_KEYS = [
    *("id", "concept", "kind", "question", "reasoning", "answer", "aliases", "lang", "split"),
]
LABEL_KEYS = ["id", "question", "truth", "aliases", "answer", "tier", "lang"]
TIERS = ["same", "reasonable", "off_domain", "contradicts", "incoherent"]
FEWEST_ROWS = {"en": 240, "zh": 120}
FEWEST_HELD_OUT = {"en": 48, "zh": 24}

Row = dict[str, Any]


def read(path: str) -> list[Row]:
    return [json.loads(line) for line in (ROOT / path).read_text(encoding="utf-8").splitlines()]


QUESTIONS = {lang: read(f"experiments/data/medical_{lang}.jsonl") for lang in LANGS}
LABELLED = read("judges/trust/data/calibration.jsonl")

each_language = pytest.mark.parametrize("lang", LANGS)


def words(text: str) -> tuple[str, ...]:
    """Case and punctuation gone; every Han character is a word."""
    return tuple(re.findall(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+", text.casefold()))


def contains(text: str, form: str) -> bool:
    return f" {' '.join(words(form))} " in f" {' '.join(words(text))} "


def forms(row: Row) -> list[str]:
    return [row["answer"], *row["aliases"]]


def rivals(lang: str) -> Iterator[tuple[Row, Row]]:
    """Pairs of rows whose answers are of one kind and differ."""
    for row in QUESTIONS[lang]:
        for other in QUESTIONS[lang]:
            if row["kind"] == other["kind"] and row["answer"] != other["answer"]:
                yield row, other


@each_language
def test_every_question_has_the_same_keys_and_says_something_in_each(lang: str):
    for row in QUESTIONS[lang]:
        assert list(row) == QUESTION_KEYS, row
        assert row["lang"] == lang
        assert row["split"] in ("train", "heldout")
        for text in (row["concept"], row["kind"], row["question"], *forms(row)):
            assert isinstance(text, str), row
            assert words(text), row
            assert text == text.strip(), row
        assert re.fullmatch(rf"{lang}-\d{{4}}", row["id"])


def test_ids_are_unique_over_both_languages():
    ids = [row["id"] for rows in QUESTIONS.values() for row in rows]
    assert len(set(ids)) == len(ids)


@each_language
def test_there_are_enough_questions_and_about_a_quarter_is_held_out(lang: str):
    held_out = sum(row["split"] == "heldout" for row in QUESTIONS[lang])
    assert len(QUESTIONS[lang]) >= FEWEST_ROWS[lang]
    assert held_out >= FEWEST_HELD_OUT[lang]
    assert 0.2 <= held_out / len(QUESTIONS[lang]) <= 0.3


@each_language
def test_questions_and_answers_are_short(lang: str):
    for row in QUESTIONS[lang]:
        if lang == "en":
            assert len(row["question"].split()) < 25, row
            assert len(row["answer"].split()) <= 4, row
        else:
            assert len(row["question"]) <= 40, row
            assert 2 <= len(row["answer"]) <= 8, row


@each_language
def test_each_question_has_a_reasoning_of_its_own_in_its_own_language(lang: str):
    rows = QUESTIONS[lang]
    assert len({row["reasoning"] for row in rows}) == len(rows)
    for row in rows:
        text = row["reasoning"]
        assert text == text.strip(), row
        assert not re.search(r"[<>\n\t*`]", text), row
        if lang == "en":
            assert not re.search(r"[\u4e00-\u9fff]", text), row
            assert 12 <= len(text.split()) <= 45, row
        else:
            assert len(text) <= 70, row
            assert len(re.findall(r"[\u4e00-\u9fff]", text)) >= 15, row


@each_language
def test_a_reasoning_names_the_answer_it_comes_to(lang: str):
    for row in QUESTIONS[lang]:
        assert any(contains(row["reasoning"], form) for form in forms(row)), row


@each_language
def test_no_question_is_asked_twice(lang: str):
    asked = Counter(words(row["question"]) for row in QUESTIONS[lang])
    assert [question for question, times in asked.items() if times > 1] == []


@each_language
@pytest.mark.parametrize("key", ["concept", "answer"])
def test_nothing_learned_in_training_is_asked_again_in_the_held_out_set(lang: str, key: str):
    splits: dict[str, set[str]] = defaultdict(set)
    for row in QUESTIONS[lang]:
        splits[row[key].casefold()].add(row["split"])
    assert [value for value, both in splits.items() if len(both) > 1] == []


@each_language
def test_no_accepted_form_of_a_training_answer_is_accepted_in_the_held_out_set(lang: str):
    accepted: dict[str, set[tuple[str, ...]]] = {"train": set(), "heldout": set()}
    for row in QUESTIONS[lang]:
        accepted[row["split"]].update(map(words, forms(row)))
    assert accepted["train"] & accepted["heldout"] == set()


@each_language
def test_held_out_and_training_questions_have_the_same_mix_of_kinds(lang: str):
    for kind in {row["kind"] for row in QUESTIONS[lang]}:
        splits = [row["split"] for row in QUESTIONS[lang] if row["kind"] == kind]
        assert 0.15 <= splits.count("heldout") / len(splits) <= 0.4, kind


@each_language
def test_every_kind_has_at_least_five_answers_that_can_contradict_each_other(lang: str):
    answers: dict[str, set[str]] = defaultdict(set)
    for row in QUESTIONS[lang]:
        answers[row["kind"]].add(row["answer"])
    assert {kind: known for kind, known in answers.items() if len(known) < 5} == {}


@each_language
def test_no_answer_is_so_frequent_that_guessing_it_pays(lang: str):
    assert max(Counter(row["answer"] for row in QUESTIONS[lang]).values()) <= 5


@each_language
def test_an_answer_has_the_same_aliases_wherever_it_is_given(lang: str):
    aliases: dict[tuple[str, str], list[str]] = {}
    for row in QUESTIONS[lang]:
        known = aliases.setdefault((row["kind"], row["answer"]), row["aliases"])
        assert row["aliases"] == known, row


@each_language
def test_every_alias_adds_a_form(lang: str):
    for row in QUESTIONS[lang]:
        assert len(set(map(words, forms(row)))) == len(forms(row)), row


@each_language
def test_no_form_of_an_answer_holds_a_form_of_another_answer_of_its_kind(lang: str):
    held = {
        (form, other_form)
        for row, other in rivals(lang)
        for form in forms(row)
        for other_form in forms(other)
        if contains(form, other_form)
    }
    assert held == set()


@each_language
def test_no_question_gives_its_answer_away_or_names_another_of_its_kind(lang: str):
    for row in QUESTIONS[lang]:
        assert not any(contains(row["question"], form) for form in forms(row)), row
    for row, other in rivals(lang):
        assert not any(contains(row["question"], form) for form in forms(other)), (row, other)


def test_no_form_is_a_single_latin_letter_that_could_be_an_article():
    for row in (*QUESTIONS["en"], *QUESTIONS["zh"]):
        assert not any(re.fullmatch("[A-Za-z]", form) for form in forms(row)), row


def test_labelled_answers_have_the_same_keys_unique_ids_and_no_repeats():
    for row in LABELLED:
        assert list(row) == LABEL_KEYS, row
        assert row["tier"] in TIERS, row
        assert row["lang"] in LANGS, row
        assert words(row["question"]), row
        assert words(row["truth"]), row
        assert row["answer"], row
    assert len({row["id"] for row in LABELLED}) == len(LABELLED)
    assert len({(row["question"], row["answer"]) for row in LABELLED}) == len(LABELLED)


def test_labelled_answers_cover_every_tier_in_both_languages():
    counts = Counter((row["lang"], row["tier"]) for row in LABELLED)
    assert len(LABELLED) >= 130
    assert {(lang, tier) for lang in LANGS for tier in TIERS} == set(counts)
    assert min(counts.values()) >= 12


def test_most_labelled_answers_are_to_questions_that_no_run_trains_or_measures_on():
    known = {words(row["question"]) for rows in QUESTIONS.values() for row in rows}
    shared = sum(words(row["question"]) in known for row in LABELLED)
    assert shared < len(LABELLED) / 2
