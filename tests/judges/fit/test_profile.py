import asyncio
import math
from dataclasses import replace
from datetime import date, timedelta

import pytest

from judges import JudgeConfig, JudgeRequest, make_judge
from judges.commands.preflight import main
from judges.fit.again import doubts_of
from judges.fit.curve import ANY, Curve
from judges.fit.profile import (
    Kept,
    Profile,
    as_toml,
    in_its_way,
    load_profile,
    place_of,
    score_at,
)
from judges.rubric.rubric import load_rubric
from judges.verdict import Scored

RUBRIC = load_rubric("facts_en")
ODD = 'She said "Yes\\no"\n\t[rows]\x7f = 维生素 🍋\x01'
ASKED = JudgeRequest(question="Capital of Australia?", truth="Canberra", answer="It is Canberra.")
PROFILE = Profile(
    made=date.today(),
    model="m",
    weights="",
    fingerprint="fp-1",
    rubric=RUBRIC.sha,
    template=RUBRIC.template_sha,
    way={"grading": "labels", "max_reply_tokens": 256},
    reading="expected",
    low=-0.5,
    high=1.0,
    right_from=0.25,
    cuts={"en": 0.1},
    curves={ANY: Curve(0.5, -1.0), "zh": Curve(1.5, -4.0)},
    figures={"auc": {"value": 0.9, "low": 0.8, "high": 0.95}, "odd name": {"ms": 12.0}},
    rows=(
        Kept(request=ASKED, raw=0.8),
        Kept(request=JudgeRequest(question=ODD, truth="T", answer=ODD, aliases=("a", '"')), raw=-1),
    ),
)


@pytest.fixture
def kept(tmp_path):
    def write(**changes):
        path = tmp_path / "profile.toml"
        path.write_text(as_toml(replace(PROFILE, **changes)), encoding="utf-8")
        return str(path)

    return write


def judged_by(path, **more):
    own = {"backend": "custom", "model": "m", "url": "http://127.0.0.1:9/v1"}
    return JudgeConfig(**{**own, "rubric": "facts_en", "profile": path, **more})


def test_a_profile_is_read_as_it_was_written_whatever_its_rows_say(kept):
    assert load_profile(kept()) == PROFILE


def test_it_sets_the_way_of_asking_and_no_more(kept):
    config = judged_by(kept(), retries=1)
    asked = in_its_way(config)
    assert asked == replace(config, grading="labels", max_reply_tokens=256)
    assert in_its_way(asked) == asked
    assert in_its_way(JudgeConfig()) == JudgeConfig()


def test_without_defences_its_line_up_is_off_too(kept):
    config = judged_by(kept(way={"grading": "labels", "lineup": True}))
    assert in_its_way(config).lineup
    assert not in_its_way(replace(config, defences=False)).lineup


@pytest.mark.parametrize(
    ("changes", "own", "problem"),
    [
        ({}, {"model": "n"}, "of the model 'm', and this is 'n'.*python -m judges fit"),
        ({"weights": "abc"}, {}, "of the model 'm' with other weights, and this is 'm'"),
        ({"rubric": "abc"}, {}, "its rubric is not that of judge.rubric facts_en"),
        ({}, {"rubric": "medical_en"}, "its rubric is not that of judge.rubric medical_en"),
        ({"template": "abc"}, {}, "its wording is not that"),
        ({}, {"grading": "ladder"}, "judge.grading is 'ladder', and .* sets it to 'labels'"),
        ({"way": {"rpm": 1}}, {}, "its way has the unknown key 'rpm'"),
        ({}, {"panel": ("rules",)}, "judge.panel names other judges"),
        ({}, {"fallback": ("rules",)}, "judge.fallback names other judges"),
    ],
)
def test_it_is_refused_with_anything_but_what_it_was_made_for(kept, changes, own, problem):
    with pytest.raises(ValueError, match=problem):
        make_judge(judged_by(kept(**changes), **own))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("made =", "not valid TOML"),
        ("made = 2026-01-01", "not a profile .*'curves'.*python -m judges fit"),
        ("made = 1\nrows = []\n[curves.en]\nslope = 1\nintercept = 0", "not a profile"),
    ],
)
def test_what_is_no_profile_is_told_in_a_sentence(tmp_path, text, problem):
    path = tmp_path / "p.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=problem):
        make_judge(judged_by(str(path)))
    with pytest.raises(ValueError, match="cannot be read"):
        make_judge(judged_by(str(tmp_path / "none.toml")))


def test_a_score_becomes_what_its_curve_says_in_its_language():
    """From -1 to 1 a raw 0.5 is three quarters, whose odds are 3."""
    scored = Scored(tier="correct", score=0.5, rationale="so")
    at = 1 / (1 + math.exp(-(0.5 * math.log(3) - 1.0)))
    for lang in ("en", "de"):
        found = PROFILE.calibrated(scored, lang, RUBRIC)
        assert found == replace(scored, score=pytest.approx(-0.5 + 1.5 * at))
    at = 1 / (1 + math.exp(-(1.5 * math.log(3) - 4.0)))
    assert PROFILE.calibrated(scored, "zh", RUBRIC).score == pytest.approx(-0.5 + 1.5 * at)


def test_a_whole_tier_is_read_by_its_place_among_the_tiers():
    """`incomplete` is worth 0.4, seven tenths of the way from -1 to 1: 2 above the middle of 10."""
    profile = replace(PROFILE, reading="likeliest")
    found = profile.calibrated(Scored(tier="incomplete", score=0.9), "en", RUBRIC)
    at = 1 / (1 + math.exp(-(0.5 * 2.0 - 1.0)))
    assert found.score == pytest.approx(-0.5 + 1.5 * at)
    for reading, score in (("likeliest", 0.4), ("expected", 0.9)):
        place = place_of(Scored(tier="incomplete", score=0.9), RUBRIC, reading)
        assert score_at(place, RUBRIC, reading) == pytest.approx(score)


def test_what_the_line_up_took_away_stays_away():
    scored = Scored(tier="wrong", score=-0.5, demoted=True)
    assert PROFILE.calibrated(scored, "en", RUBRIC) == scored


def sure(chat_completion, share, fingerprint="fp-1"):
    top = [
        {"token": "correct", "logprob": math.log(share)},
        {"token": "wrong", "logprob": math.log(1 - share)},
    ]
    reply = chat_completion("correct", logprobs={"content": [{**top[0], "top_logprobs": top}]})
    return 200, {**reply, "system_fingerprint": fingerprint}


def test_a_run_asks_in_its_way_and_gets_calibrated_scores_from_the_ledger_too(
    kept, scripted_judge, chat_completion, tmp_path
):
    ledger = str(tmp_path / "ledger.sqlite")

    async def judged():
        async with scripted_judge(lambda _: sure(chat_completion, 0.6)) as server:
            config = judged_by(kept(), url=server.url, ledger=ledger)
            async with make_judge(config) as judge:
                first = await judge.score_one(ASKED)
            replay = JudgeConfig(
                backend="replay", rubric="facts_en", profile=config.profile, ledger=ledger
            )
            async with make_judge(replay) as judge:
                return first, await judge.score_one(ASKED), server.asked

    first, again, asked = asyncio.run(judged())
    assert [body["logprobs"] for body in asked] == [True]
    raw = 0.6 * 1.0 + 0.4 * -0.5
    share = (raw + 1) / 2
    at = 1 / (1 + math.exp(-(0.5 * math.log(share / (1 - share)) - 1.0)))
    assert first.score == again.score == pytest.approx(-0.5 + 1.5 * at)
    assert again.cached


def doubts(scripted_judge, answer, path, **more):
    async def ask():
        async with scripted_judge(answer) as server:
            return await doubts_of(judged_by(path, url=server.url, **more)), len(server.asked)

    return asyncio.run(ask())


RAW = 0.9 * 1.0 + 0.1 * -0.5
ROWS = tuple(Kept(request=replace(ASKED, answer=f"Canberra, {i}"), raw=RAW) for i in range(8))


def test_a_judge_that_still_says_what_it_said_raises_no_doubt(
    kept, scripted_judge, chat_completion, tmp_path
):
    """Not even a ledger that knows the rows spares the question."""
    more = {"ledger": str(tmp_path / "ledger.sqlite")}
    for _ in range(2):
        said = doubts(scripted_judge, lambda _: sure(chat_completion, 0.9), kept(rows=ROWS), **more)
        assert said == ([], 8)


def test_a_name_under_which_another_model_answers_is_doubted(kept, scripted_judge, chat_completion):
    found, _ = doubts(scripted_judge, lambda _: sure(chat_completion, 0.6, "fp-2"), kept(rows=ROWS))
    assert len(found) == 2
    assert "as fp-1, and it is now served as fp-2" in found[0]
    moved = (0.9 - 0.6) * 1.5 / 2.0
    assert f"8 of its rows, asked again, moved by {moved:.0%} of the range" in found[1]


def test_an_old_profile_and_one_whose_rows_get_no_verdict_are_doubted(
    kept, scripted_judge, chat_completion
):
    old = date.today() - timedelta(days=200)
    found, _ = doubts(
        scripted_judge, lambda _: (200, chat_completion("Hm.")), kept(rows=ROWS, made=old)
    )
    assert "was made 200 days ago" in found[0]
    assert "of its 8 rows, 0 got a verdict" in found[1]
    assert asyncio.run(doubts_of(JudgeConfig())) == []


def test_a_preflight_prices_the_way_that_the_profile_sets(kept, capsys):
    flags = ["--backend", "custom", "--model", "m", "--url", "http://127.0.0.1:9/v1"]
    flags += ["--rubric", "facts_en"]
    assert main([*flags, "--grading", "labels"]) == 0
    by_labels = capsys.readouterr().out
    assert main(flags) == 0
    assert capsys.readouterr().out != by_labels
    assert main([*flags, "--profile", kept(way={"grading": "labels"})]) == 0
    assert capsys.readouterr().out == by_labels
    assert main([*flags, "--profile", kept(model="n")]) == 2
    assert "of the model 'n', and this is 'm'" in capsys.readouterr().err
