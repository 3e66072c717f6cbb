"""Figures of an answer against scikit-learn, rouge-score and definitions written out."""

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import accuracy_score, f1_score

from rl.data.words import words
from rl.evaluate.text.figures import exact_match, in_language, repetition, rouge_l, token_f1

ASCII = st.text(string.printable, max_size=60)
SENTENCES = [
    "Insulin lowers the blood sugar.",
    "The blood sugar is lowered by insulin, which the pancreas makes.",
    "It's 5-HT (serotonin), at 2.5 mg/d!",
    "",
    "the THE the",
]


@pytest.mark.parametrize("truth", SENTENCES)
@pytest.mark.parametrize("answer", SENTENCES)
def test_rouge_l_of_english_is_rouge_scores_own(answer, truth):
    theirs = RougeScorer(["rougeL"]).score(truth, answer)["rougeL"].fmeasure
    assert rouge_l(answer, [truth]) == theirs


@given(ASCII, ASCII)
def test_rouge_l_of_anything_in_ascii_is_rouge_scores_own(answer, truth):
    theirs = RougeScorer(["rougeL"]).score(truth, answer)["rougeL"].fmeasure
    assert rouge_l(answer, [truth]) == theirs


def test_equal_chinese_texts_score_one_and_half_of_one_two_thirds():
    text = "胰岛素由胰腺分泌，能降低血糖。"
    assert rouge_l(text, [text]) == token_f1(text, [text]) == exact_match(text, [text]) == 1.0
    assert rouge_l("胰岛", ["胰岛血糖"]) == pytest.approx(2 / 3)
    assert token_f1("血糖胰岛", ["胰岛"]) == pytest.approx(2 / 3)
    assert rouge_l("心脏", ["血糖"]) == 0.0


def test_token_f1_of_words_that_occur_once_is_scikit_learns():
    draw = random.Random(5)
    vocabulary = [f"w{n}" for n in range(30)]
    for _ in range(50):
        said = draw.sample(vocabulary, draw.randint(1, 20))
        truth = draw.sample(vocabulary, draw.randint(1, 20))
        theirs = f1_score(
            [word in truth for word in vocabulary], [word in said for word in vocabulary]
        )
        assert token_f1(" ".join(said), [" ".join(truth)]) == pytest.approx(theirs)


def test_token_f1_counts_words_as_often_as_they_occur():
    # two of three said words are in the truth, two of four words of the truth are said
    precision, recall = 2 / 3, 2 / 4
    assert token_f1("pain pain pain", ["pain, no pain now"]) == pytest.approx(
        2 * precision * recall / (precision + recall)
    )


def test_the_mean_of_exact_matches_is_scikit_learns_accuracy():
    draw = random.Random(6)
    truths = [draw.choice("abcd") for _ in range(40)]
    answers = [draw.choice("abcd") for _ in range(40)]
    truths, answers = ([f"Option {letter}" for letter in each] for each in (truths, answers))
    matches = [exact_match(a, [t]) for a, t in zip(answers, truths, strict=True)]
    assert sum(matches) / 40 == accuracy_score(truths, answers)


def test_case_width_punctuation_and_articles_do_not_count():
    assert exact_match("The  Vitamin-C！", ["vitamin ｃ"]) == 1.0
    assert exact_match("vitamin C", ["vitamin D"]) == 0.0


def test_the_best_of_what_is_accepted_counts():
    accepted = ["ascorbic acid", "vitamin C"]
    for figure in (exact_match, token_f1, rouge_l):
        assert figure("Vitamin C", accepted) == 1.0


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("one two three", None),
        ("one two three four five", 0.0),
        ("a b c d a b c d", 1 / 5),
        ("no no no no no no", 2 / 3),
        ("血糖高血糖高血糖高", 3 / 6),
    ],
)
def test_repetition_is_the_share_of_runs_that_stood_there_before(answer, share):
    assert repetition(answer) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("answer", "question", "lang", "inside"),
    [
        ("胰岛素", "哪种激素能降低血糖？", "zh", 1.0),
        ("胰岛素", "哪种激素能降低血糖？", "en", 1.0),
        ("Insulin is what lowers blood sugar", "哪种激素能降低血糖？", "zh", 0.0),
        ("胰岛素", "Which hormone lowers blood sugar?", "en", 0.0),
        ("Insulin", "Which hormone lowers blood sugar?", "en", 1.0),
        ("...", "Which hormone lowers blood sugar?", "en", None),
        ("L'insuline", "Quelle hormone ?", "fr", None),
    ],
)
def test_the_language_of_an_answer_is_that_of_its_question_by_script(
    answer, question, lang, inside
):
    assert in_language(answer, question, lang) == inside


def test_words_are_characters_where_a_script_writes_no_spaces():
    assert words("HbA1c 升高：6.5%") == ["hba1c", "升", "高", "6", "5"]
