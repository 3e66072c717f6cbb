import re
from pathlib import Path

import pytest

from judges import JudgeRequest
from judges.rubric.prompt import grading_prompt
from judges.rubric.rubric import Template, load_rubric, shipped_rubrics


def write(tmp_path, text, name="own.toml"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


TWO_TIERS = """
lang = "en"
task = "Grade."
[[tiers]]
label = "yes"
score = 10
meaning = "Right."
[[tiers]]
label = "no"
score = -3.5
meaning = "Wrong."
"""


@pytest.mark.parametrize("name", shipped_rubrics())
def test_every_shipped_rubric_loads_and_serves_the_rules_judge(name):
    rubric = load_rubric(name)
    rubric.check_rules()
    assert len(rubric.tiers) >= 2
    assert len(rubric.sha) == 16


def test_the_rubric_of_the_documentation_loads_and_serves_the_rules_judge(tmp_path):
    docs = (Path(__file__).parents[3] / "docs" / "judges.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", docs, flags=re.S)
    load_rubric(write(tmp_path, shown)).check_rules()


def test_no_tier_is_called_what_a_missing_verdict_is_called(tmp_path):
    with pytest.raises(ValueError, match="a tier cannot be called fault"):
        load_rubric(write(tmp_path, TWO_TIERS.replace('"no"', '"fault"')))


@pytest.mark.parametrize("slip", ["scroe = 1", "[[tiers.exmples]]\nquestion = 'q'"])
def test_a_misspelt_key_of_a_tier_is_refused(tmp_path, slip):
    with pytest.raises(ValueError, match=r"tier no: unknown key '(scroe|exmples)'"):
        load_rubric(write(tmp_path, TWO_TIERS + slip))


@pytest.mark.parametrize("name", ["medical_en", "medical_zh"])
def test_the_medical_tiers_have_the_scores_that_training_expects(name):
    scores = {tier.label: tier.score for tier in load_rubric(name).tiers}
    assert scores == {
        "same": 2.0,
        "reasonable": 0.5,
        "off_domain": 0.0,
        "contradicts": -0.5,
        "incoherent": -1.0,
    }


def test_any_number_of_tiers_and_any_scores(tmp_path):
    rubric = load_rubric(write(tmp_path, TWO_TIERS))
    assert [(tier.label, tier.score) for tier in rubric.tiers] == [("yes", 10.0), ("no", -3.5)]


def test_there_may_be_more_tiers_than_letters(tmp_path):
    tiers = "".join(f'[[tiers]]\nlabel = "t{i}"\nscore = {i}\nmeaning = "M."\n' for i in range(40))
    rubric = load_rubric(write(tmp_path, f'lang = "en"\ntask = "Grade."\n{tiers}'))
    assert len(rubric.tiers) == 40


def test_the_hash_follows_the_words_and_not_the_spacing(tmp_path):
    plain = load_rubric(write(tmp_path, TWO_TIERS, "a.toml"))
    spaced = load_rubric(write(tmp_path, "# a comment\n" + TWO_TIERS + "\n\n", "b.toml"))
    other = load_rubric(write(tmp_path, TWO_TIERS.replace("Right.", "Correct."), "c.toml"))
    assert plain.sha == spaced.sha != other.sha


def test_a_file_that_was_edited_is_read_again(tmp_path):
    path = write(tmp_path, TWO_TIERS)
    before = load_rubric(path)
    write(tmp_path, TWO_TIERS.replace("Right.", "Correct."))
    after = load_rubric(path)
    assert after.sha != before.sha
    request = JudgeRequest(question="?", truth="t", answer="a")
    for rubric, meaning in ((before, "Right."), (after, "Correct.")):
        system = grading_prompt(request, rubric, "schema", defences=True).system
        assert f"- yes: {meaning}" in system


def test_a_rubric_in_any_language_may_bring_its_own_wording(tmp_path):
    places = "{question} {truth} {response} {ask}"
    words = "\n".join(
        f'{key} = "{key} en français{places * (key == "ladder")}"'
        for key in Template.__dataclass_fields__
        if key != "sha"
    )
    text = TWO_TIERS.replace('lang = "en"', 'lang = "fr"') + f"[template]\n{words}"
    assert load_rubric(write(tmp_path, text)).template.commit == "commit en français"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("score = 10", 'score = "ten"'), "must be a number"),
        (("score = 10", "score = nan"), "must be a number"),
        (('label = "no"', 'label = "yes"'), "same label"),
        (('label = "no"', 'label = "No!"'), "lower-case"),
        (('meaning = "Wrong."', ""), "no `meaning`"),
        (('task = "Grade."', ""), "`task` is missing"),
        (('task = "Grade."', 'task = "Grade."\ntiar = 1'), "unknown key 'tiar'"),
        (('lang = "en"', 'lang = "fr"'), "wording is incomplete"),
        (('meaning = "Wrong."', 'meaning = "W."\nrules = ["wrong"]'), "known are same"),
        (("[[tiers]]", "[[tiers"), "not valid TOML"),
        (('[[tiers]]\nlabel = "yes"', '[tiers]\nlabel = "yes"'), "not valid TOML"),
        (("score = 10", "score = true"), "must be a number"),
        (('task = "Grade."', "task = 5"), "`task` is 5: it must be text"),
        (('lang = "en"', 'lang = ["en"]'), "`lang` is .*: it must be text"),
        (('task = "Grade."', 'task = "Grade."\nsiblings = "fr"'), r"as a table, \[siblings\]"),
        (('task = "Grade."', 'task = "Grade."\ntemplate = {commit = 1}'), "`commit` is 1: it must"),
        (('meaning = "Wrong."', "meaning = 5"), "tier no: `meaning` is 5: it must be text"),
        (('meaning = "Wrong."', 'meaning = "W."\nrules = "same"'), "`rules` is 'same': it must be"),
        (('meaning = "Wrong."', 'meaning = "W."\nexamples = 1'), r"\[\[tiers.examples\]\]"),
        (
            ('meaning = "Wrong."', 'meaning = "W."\nexamples = [{question = "Q?", truth = "T"}]'),
            "tier no has an example of question, truth; it needs question, truth, answer",
        ),
        (
            (
                'meaning = "Wrong."',
                'meaning = "W."\nexamples = [{question = "Q?", truth = "T", answer = 1}]',
            ),
            "tier no, an example: `answer` is 1: it must be text",
        ),
    ],
)
def test_a_rubric_that_cannot_work_says_why(tmp_path, change, said):
    with pytest.raises(ValueError, match=said):
        load_rubric(write(tmp_path, TWO_TIERS.replace(*change)))


@pytest.mark.parametrize("tiers", ['[tiers]\nlabel = "yes"', 'tiers = ["yes", "no"]', "tiers = 1"])
def test_tiers_that_are_no_list_of_tables_are_told_how_to_write_them(tmp_path, tiers):
    with pytest.raises(ValueError, match=r"write each of its tiers as a table, \[\[tiers\]\]"):
        load_rubric(write(tmp_path, f'lang = "en"\ntask = "Grade."\n{tiers}\n'))


def test_a_misspelt_rubric_gets_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean medical_en"):
        load_rubric("medicl_en")


def test_the_rules_judge_refuses_a_rubric_without_rules(tmp_path):
    with pytest.raises(ValueError, match="0 tiers have 'same'"):
        load_rubric(write(tmp_path, TWO_TIERS)).check_rules()
