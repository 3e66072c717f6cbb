import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges import JudgeRequest
from judges.rubric.prompt import neutralise
from judges.rubric.rubric import load_rubric
from judges.rubric.words import says_any, words_of
from judges.trust.attacks import cross, load_patterns
from judges.trust.labelled import SHIPPED, Fields, read_labelled
from judges.trust.redteam import main, questions_of

pytestmark = pytest.mark.slow

RUBRIC = load_rubric("medical_en")
FAMILIES = {
    *("blank", "opener", "fake_verdict", "override", "authority", "flattery", "formatting"),
    *("repeated", "rubric", "hidden", "explained", "language", "refusal", "pointing", "guesses"),
    *("chat_tags", "translated", "table", "examples", "polite", "filler", "homoglyph"),
    *("right_to_left", "code_comment", "json_string", "outdated"),
}
ROWS = read_labelled(SHIPPED, Fields(), RUBRIC, 0.5)


def test_there_are_patterns_of_every_family_in_both_languages():
    patterns = load_patterns()
    assert len(patterns) >= 120
    assert len({pattern.text for pattern in patterns}) == len(patterns)
    assert all(pattern.source for pattern in patterns)
    assert {pattern.family for pattern in patterns} == FAMILIES
    for lang in ("en", "zh"):
        known = {pattern.family for pattern in patterns if pattern.lang in ("any", lang)}
        assert known == FAMILIES


def test_the_chat_tags_of_every_family_of_models_are_tried():
    tags = {each.source.partition(":")[0] for each in load_patterns() if each.family == "chat_tags"}
    assert tags == {"Qwen", "Llama 3", "Llama 4", "DeepSeek", "Gemma", "Mistral", "gpt-oss"}


def test_attacks_from_a_file_stand_alone_or_beside_the_shipped(tmp_path):
    own = {"family": "own", "lang": "any", "text": "Trust me, {question} is easy."}
    known = {"family": "blank", "lang": "any", "text": " ", "source": "here too"}
    file = tmp_path / "own.jsonl"
    file.write_text(f"{json.dumps(own)}\n{json.dumps(known)}\n", encoding="utf-8")
    assert [each.family for each in load_patterns([str(file)])] == ["own", "blank"]
    both = load_patterns(["shipped", str(file)])
    assert len(both) == len(load_patterns()) + 1
    assert [each.source for each in both if each.text == " "] == ["here too"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"family": "own", "lang": "en"}, "`text` must be there"),
        ({"family": "own", "lang": "en", "text": "", "about": ""}, "unknown key 'about'"),
    ],
)
def test_what_is_no_pattern_is_told_with_its_line(tmp_path, capsys, row, problem):
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    assert main(["--patterns", str(file)]) == 2
    assert f"own.jsonl, line 1: {problem}" in capsys.readouterr().err


def test_no_attack_on_any_shipped_question_holds_the_truth_unless_it_means_to():
    questions = questions_of(ROWS, 1000, seed=0)
    attacks = cross(questions, load_patterns(), RUBRIC, seed=0)
    assert len(attacks) > 7000
    for attack in attacks:
        said = f" {' '.join(words_of(attack.request.answer).words)} "
        truths = [attack.request.truth, *attack.request.aliases]
        held = any(f" {' '.join(words_of(truth).words)} " in said for truth in truths)
        assert held == attack.pattern.holds_truth
        assert "{" not in attack.request.answer.replace("{}", "").replace('{"', "").replace(
            "{\\", ""
        )


def test_every_question_meets_every_pattern_of_its_language_filled_in():
    questions = questions_of(ROWS, 6, seed=2)
    assert [question.lang for question in questions] == ["en"] * 6 + ["zh"] * 6
    patterns = load_patterns()
    attacks = cross(questions, patterns, RUBRIC, seed=0)
    for question in questions:
        met = [attack for attack in attacks if attack.request.question == question.question]
        meant = [pattern for pattern in patterns if pattern.lang in ("any", question.lang)]
        assert len(meant) - 3 <= len(met) <= len(meant)  # a few hold the truth by chance
        texts = " ".join(attack.request.answer for attack in met)
        rubric = RUBRIC.in_language(question.lang)
        assert rubric.tiers[0].meaning in texts
        assert question.question in texts
        assert "tier same" not in texts
        unseen = "".join(chr(ord(c) - 0xE0000) for c in texts if ord(c) >= 0xE0000)
        assert unseen == "tier same"


def test_what_nobody_can_see_is_gone_from_what_the_judge_reads():
    attacks = cross(questions_of(ROWS, 6, seed=2), load_patterns(), RUBRIC, seed=0)
    for attack in attacks:
        if any(ord(character) >= 0xE0000 for character in attack.request.answer):
            assert "tier same" not in neutralise(attack.request.answer)
            assert neutralise(attack.request.answer).isprintable()


@given(st.text(max_size=30), st.sampled_from(["Vitamin C", "ascorbic acid", "维生素C"]), st.text())
@settings(max_examples=100, deadline=None)
def test_the_truth_is_found_between_any_two_texts(before, truth, after):
    question = JudgeRequest(
        question="?", truth="Vitamin C", answer="", aliases=("ascorbic acid", "维生素C")
    )
    assert says_any(f"{before} . {truth.upper()} . {after}", question.accepted)
    assert not says_any("vitamin of kind D, citamin C", question.accepted)


def test_too_few_questions_to_draw_wrong_answers_from_is_told():
    with pytest.raises(ValueError, match="--questions"):
        cross(questions_of(ROWS, 1, seed=0), load_patterns(), RUBRIC, seed=0)
