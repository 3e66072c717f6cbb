import json

import pytest

from judges.serve.rules import Known, grade, load_known

KNOWN = Known(
    [
        ("Vitamin A", ("retinol",), "vitamin"),
        ("Vitamin B12", ("cobalamin",), "vitamin"),
        ("Vitamin C", ("ascorbic acid",), "vitamin"),
        ("Vitamin D", (), "vitamin"),
        ("Anaemia", ("anemia",), "disease"),
        ("Sickle cell anaemia", (), "disease"),
        ("Scurvy", (), "disease"),
        ("维生素C", ("抗坏血酸",), "vitamin"),
        ("维生素D", (), "vitamin"),
        ("4", (), "number"),
        ("206", (), "number"),
    ]
)


def rule(answer, truth="Vitamin C", aliases=("ascorbic acid",), question="Scurvy is a lack of?"):
    return grade(question, truth, aliases, answer, KNOWN).rule


@pytest.mark.parametrize(
    "answer",
    [
        "Vitamin C",
        "vitamin c.",
        "**Vitamin C**",
        "Ｖｉｔａｍｉｎ　Ｃ",
        "The answer is Vitamin C",
        "It is ascorbic acid.",
        "A vitamin C deficiency",
        "Scurvy is caused by a deficiency of vitamin C.",
        "No, it is vitamin C.",
        "Vitamin C, not vitamin D.",
        "Not vitamin D but vitamin C.",
        "Not only vitamin C",
        "The body does not get enough vitamin C.",
    ],
)
def test_a_short_answer_that_says_the_truth_is_the_same(answer):
    assert rule(answer) == "same"


@pytest.mark.parametrize(
    "answer",
    [
        "Vitamin D",
        "It is cobalamin.",
        "Not vitamin C.",
        "It isn't caused by vitamin C.",
        "Vitamin C is not the answer.",
        "Anything rather than vitamin C.",
        "vitamin A, vitamin C or vitamin D",
    ],
)
def test_another_known_answer_a_denial_or_a_list_of_guesses_contradicts(answer):
    assert rule(answer) == "contradicts"


def test_a_long_answer_with_the_truth_is_worth_less_than_a_short_one():
    assert rule("Long ago, on ships, people who ate no fruit fell short of vitamin C at sea.") == (
        "reasonable"
    )


def test_one_other_answer_beside_the_truth_is_only_reasonable():
    assert rule("vitamin C or vitamin D") == "reasonable"


def test_two_names_of_one_other_answer_are_one_guess():
    assert rule("vitamin C or vitamin B12 (cobalamin)") == "reasonable"


def test_the_truth_inside_a_longer_known_name_is_not_the_truth():
    assert rule("sickle cell anaemia", truth="Anaemia", aliases=("anemia",)) == "contradicts"
    assert rule("Sickle cell anaemia", truth="Sickle cell anaemia", aliases=()) == "same"


def test_a_word_is_not_found_inside_another_word():
    assert rule("retina", truth="Retinol", aliases=()) == "off_domain"


def test_what_the_question_names_is_no_guess():
    answer = "Scurvy comes from anaemia"
    assert rule(answer, truth="Anaemia", aliases=(), question="Scurvy comes from?") == "same"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n",
        "...!?",
        "*** ((( ))) ***",
        "the the the the the",
        "vitamin C vitamin C vitamin C vitamin C",
        "asdf qwrtp zxcvb bnmpq kjhgf",
        "A. B. C. D. E. F. G. H.",
        "The answer is the answer to the answer, which is the answer to the answer",
        "<|im_end|> vitamin C",
        "< |im_end| > vitamin C",
        "vitaminÃ© C",
        "维维维维维维",
        "liver kidney bone tissue gland muscle artery nerve skin heart lung spleen brain",
    ],
)
def test_what_is_not_language_is_incoherent(answer):
    assert rule(answer) == "incoherent"


@pytest.mark.parametrize("answer", ["I do not know.", "Fruit, I think.", "你好", "same", "+2.0"])
def test_the_rest_is_off_domain(answer):
    assert rule(answer) == "off_domain"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("维生素C", "same"),
        ("是维生素Ｃ。", "same"),
        ("缺乏维生素C会引起坏血病。", "same"),
        ("抗坏血酸", "same"),
        ("不是维生素C", "contradicts"),
        ("维生素D", "contradicts"),
        (
            "长期不吃新鲜蔬菜水果，体内的维生素C就会不足，胶原合成受影响，于是牙龈出血、伤口不愈。",
            "reasonable",
        ),
        ("多吃蔬菜水果。", "off_domain"),
    ],
)
def test_chinese_is_graded_alike(answer, expected):
    asked = {"truth": "维生素C", "aliases": ("抗坏血酸",), "question": "缺乏什么会得坏血病？"}
    assert rule(answer, **asked) == expected


@pytest.mark.parametrize("answer", ["206", "206 bones.", "二百零六", "二百零六块"])
def test_numbers_are_compared_as_numbers(answer):
    assert rule(answer, truth="206", aliases=()) == "same"


def test_a_digit_inside_a_number_is_not_that_number():
    assert rule("四十五分钟", truth="206", aliases=()) == "off_domain"


def test_plurals_accents_and_possessives_make_no_difference():
    assert rule("red blood cell", truth="Red blood cells", aliases=()) == "same"
    assert rule("Meniere disease", truth="Ménière's disease", aliases=()) == "same"


def test_without_known_answers_a_wrong_one_is_only_beside_the_question():
    assert grade("Q?", "Vitamin C", (), "Vitamin D", Known()).rule == "off_domain"


def test_a_known_answer_of_no_kind_contradicts_none(tmp_path):
    path = tmp_path / "known.jsonl"
    path.write_text('{"answer": "Vitamin C"}\n{"answer": "Vitamin D"}\n')
    assert grade("Q?", "Vitamin C", (), "Vitamin D", load_known(path)).rule == "off_domain"


def test_a_broken_row_of_known_answers_is_named_by_its_line(tmp_path):
    path = tmp_path / "known.jsonl"
    path.write_text(json.dumps({"answer": "A", "kind": "k"}) + '\n{"kind": "k"}\n')
    with pytest.raises(ValueError, match="line 2: a known answer needs"):
        load_known(path)
    with pytest.raises(ValueError, match="no such file"):
        load_known(tmp_path / "missing.jsonl")
