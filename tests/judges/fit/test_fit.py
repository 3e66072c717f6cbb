"""A whole fit against a judge over HTTP whose strength, by the way it is asked, is known."""

import asyncio
import json
import math
import random
import re
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sklearn.metrics import roc_auc_score

from judges import JudgeConfig, JudgeRequest
from judges.fit.fit import main, why_useless
from judges.fit.found import cuts_of, figures_of, profile_of_fit
from judges.fit.plain import plain_ask, read_plain
from judges.fit.profile import as_toml, in_its_way, load_profile
from judges.fit.search import halves, search
from judges.fit.ways import Said, Tried, choose
from judges.rubric.lineup import read_lineup, stated
from judges.rubric.rubric import load_rubric
from judges.trust import calibrate, redteam
from judges.trust.cost import cost_of
from judges.trust.labelled import Labelled
from judges.verdict import Scored, Usage

RUBRIC = load_rubric("facts_en")
WORDS = [f"{one}o{other}u" for one in "bcdfghjklm" for other in "hjklmnprtvwz"]


def labelled(lang, count=80):
    return [
        Labelled(
            request=JudgeRequest(
                question=f"{lang}: question {i // 2}?",
                truth=WORDS[i // 2],
                answer=f"answer {lang} {i}: {WORDS[i // 2]}.",
                lang=lang,
            ),
            right=i % 2 == 0,
            tier=None,
        )
        for i in range(count)
    ]


def odds_of(answer, strength, bias):
    """The same noise whoever asks, so that one way is seen to be better than another."""
    found = re.search(r"answer (\w+) (\d+):", answer)
    if found is None:
        return bias.get("attack", -5.0)
    lang, number = found.groups()
    noise = random.Random(f"{lang} {number}").gauss(0, 1)
    return (strength if int(number) % 2 == 0 else -strength) + noise + bias.get(lang, 0.0)


def yes_or_no(chat_completion, odds, words):
    yes = 1 / (1 + math.exp(-odds))
    shares = dict(zip(words, (yes, 1 - yes), strict=True))
    top = [{"token": word, "logprob": math.log(share)} for word, share in shares.items()]
    top.sort(key=lambda each: -each["logprob"])
    logprobs = {"content": [{**top[0], "top_logprobs": top}]}
    return chat_completion(top[0]["token"], logprobs=logprobs)


def judge_of(chat_completion, strengths, tokens, bias=None):
    """`strengths` and `tokens` are by the way it is asked: plain, labels, ladder or schema.

    `bias` is by language, and of what is no answer at all: that is not believed unless it says so.
    """

    def answer(body):
        user = body["messages"][-1]["content"]
        if lined_up := read_lineup(user):
            text, entries = lined_up
            letter = stated(text, entries)
            other = next(each for each in entries if each != letter)
            return 200, yes_or_no(chat_completion, 5.0, (letter, other))
        way = (
            "plain"
            if body["messages"][0]["role"] == "user"
            else "schema"
            if "response_format" in body
            else "labels"
            if "correct / incomplete" in user
            else "ladder"
        )
        odds = odds_of(user, strengths[way], bias or {})
        if way == "schema":
            tier = "correct" if odds > 0 else "wrong"
            reply = chat_completion(json.dumps({"rationale": "So.", "tier": tier}))
        else:
            words = ("correct", "wrong") if way == "labels" else ("yes", "no")
            reply = yes_or_no(chat_completion, odds, words)
        usage = {"prompt_tokens": tokens[way], "completion_tokens": 1}
        return 200, {**reply, "usage": usage, "system_fingerprint": "fp-1"}

    return answer


EVEN = {"plain": 1.0, "labels": 1.0, "ladder": 1.0, "schema": 1.0}
TOKENS = {"plain": 50, "labels": 300, "ladder": 100, "schema": 400}
WAYS = ("labels", "ladder", "schema")


def found_by(scripted_judge, answer, rows, ways=WAYS, rubric=RUBRIC, attacks=0):
    async def ask():
        async with scripted_judge(answer) as server:
            judge = JudgeConfig(
                backend="custom", model="m", url=server.url, rubric=rubric.name, retries=0
            )
            found = await search(judge, rows, ways, rubric, attacks=attacks, seed=0)
            return found, len(server.asked)

    return asyncio.run(ask())


def test_what_is_chosen_on_and_what_is_reported_on_share_no_question():
    rows = labelled("en", 60) + labelled("zh", 60)
    one, other = halves(rows, seed=0)
    assert {row.request.question for row in one}.isdisjoint(row.request.question for row in other)
    assert sorted(map(repr, one + other)) == sorted(map(repr, rows))
    assert len(one) == len(other) == 60
    questions = [row.request.question for row in one]
    assert questions == sorted(questions)
    assert halves(rows[::-1], seed=0)[0] != halves(rows, seed=1)[0]
    with pytest.raises(ValueError, match="have 4 right answers and 4 wrong ones, and 10 of each"):
        halves(labelled("en", 16), seed=0)


def tried(way, strength, tokens, *, faults=0):
    rows = labelled("en", 200)
    said = [Said(row=row, place=odds_of(row.request.answer, strength, {})) for row in rows]
    said[:faults] = [replace(each, place=None) for each in said[:faults]]
    spent = Scored(tier="correct", score=1.0, usage=Usage(input_tokens=tokens))
    return Tried(
        way=way,
        reading="expected",
        config=JudgeConfig(),
        said=said,
        faults={},
        cost=cost_of([spent]),
    )


def test_the_fewest_tokens_win_among_ways_that_nobody_beats():
    best, near, worse = tried("a", 1.5, 900), tried("b", 1.495, 300), tried("c", 0.7, 50)
    assert choose([best, near, worse], seed=0) is near
    assert choose([best, worse], seed=0) is best
    assert choose([worse], seed=0) is worse


def test_a_way_that_often_gets_no_verdict_is_not_chosen():
    best, cheap = tried("a", 1.5, 900), tried("b", 1.5, 100, faults=30)
    assert choose([best, cheap], seed=0) is best
    assert choose([cheap], seed=0) is None


def test_the_way_that_helps_is_found_and_reported_on_rows_it_was_not_chosen_on(
    scripted_judge, chat_completion
):
    strengths = {**EVEN, "ladder": 2.0, "schema": 0.3}
    rows = labelled("en", 160)
    found, asked = found_by(
        scripted_judge,
        judge_of(chat_completion, strengths, TOKENS),
        rows,
        ways=("labels", "schema"),
    )
    assert found.chosen.way == "labels"
    assert asked == 160 + 80 + 80 + 80
    reporting = found.halves[1]
    raw = [1 / (1 + math.exp(-odds_of(row.request.answer, 1.0, {}))) for row in reporting]
    right = [row.right for row in reporting]
    auc = found.figures["auc"]
    assert auc.ours.value == auc.plain.value == pytest.approx(roc_auc_score(right, raw))
    assert (auc.gap.low, auc.gap.value, auc.gap.high) == (0, 0, 0)
    assert 0.8 < auc.ours.low < auc.ours.value < auc.ours.high
    at = [one.passes for one, _ in found.seen]
    passed = sum(at[i] for i, hit in enumerate(right) if hit) / sum(right)
    failed = sum(at[i] for i, hit in enumerate(right) if not hit) / (len(right) - sum(right))
    assert found.figures["j"].ours.value == pytest.approx(passed - failed)
    ours, plain = found.costs
    assert (ours.tokens, plain.tokens) == (301, 51)


def test_a_better_way_of_asking_is_seen_to_be_better_than_the_plain_question(
    scripted_judge, chat_completion
):
    answer = judge_of(chat_completion, {**EVEN, "ladder": 2.0}, TOKENS)
    found, _ = found_by(scripted_judge, answer, labelled("en", 160))
    assert (found.chosen.way, found.chosen.reading) == ("ladder", "expected")
    assert found.figures["auc"].gap.low > 0
    assert found.figures["accuracy"].gap.value > 0


def test_a_way_that_believes_what_is_no_answer_gives_place_to_one_that_does_not(
    scripted_judge, chat_completion
):
    believing = judge_of(chat_completion, EVEN, TOKENS, bias={"attack": 5.0})
    rows, ways = labelled("en", 160), ("ladder", "labels", "labels_lineup")
    found, _ = found_by(scripted_judge, believing, rows, ways)
    assert found.chosen.way == "ladder"  # the cheapest, which nobody has tried to fool
    found, _ = found_by(scripted_judge, believing, rows, ways, attacks=24)
    assert found.chosen.way == "labels_lineup"
    believed = {name: share.value for name, share in found.choice.fooled.items()}
    assert believed["ladder"] == believed["labels"] == 1.0
    assert believed["labels_lineup"] == 0.0
    assert why_useless(found, 0.2) is None
    found, _ = found_by(scripted_judge, believing, rows, ways[:2], attacks=24)
    assert found.chosen.way == "ladder"
    assert re.search(r"attacks count as right: 100.0% .* as ladder", why_useless(found, 0.2))


def test_who_believes_nobody_is_chosen_as_if_there_were_no_attacks(scripted_judge, chat_completion):
    sceptical = judge_of(chat_completion, EVEN, TOKENS)
    rows = labelled("en", 160)
    without, calls = found_by(scripted_judge, sceptical, rows)
    found, with_attacks = found_by(scripted_judge, sceptical, rows, attacks=24)
    assert found.chosen.way == without.chosen.way == "ladder"
    assert found.choice.fooled["ladder"].value == 0.0
    assert with_attacks > calls
    assert figures_of(found)["attacks_believed"]["value"] == 0.0
    assert figures_of(found)["auc"] == figures_of(without)["auc"]


def test_each_language_has_its_cut_and_scores_are_worth_what_they_promise(
    scripted_judge, chat_completion
):
    """In Chinese it says yes to nearly everything, and still tells right from wrong."""
    rows = labelled("en", 160) + labelled("zh", 160)
    answer = judge_of(chat_completion, EVEN, TOKENS, bias={"zh": 3.0})
    found, _ = found_by(scripted_judge, answer, rows, ways=("labels",))
    assert found.figures["accuracy"].ours.value > 0.75
    assert found.figures["calibration_error"].ours.value < 0.1
    cuts = cuts_of(found, RUBRIC)
    share = {lang: (cut + 1) / 2 for lang, cut in cuts.items()}  # of -1 to 1
    raw = {lang: (share[lang] * 2 - 1 + 0.5) / 1.5 for lang in cuts}  # between wrong and correct
    assert math.log(raw["en"] / (1 - raw["en"])) == pytest.approx(0.0, abs=0.7)
    assert math.log(raw["zh"] / (1 - raw["zh"])) == pytest.approx(3.0, abs=0.7)
    zh = [one for one, _ in found.seen if one.lang == "zh"]
    assert 0.3 < sum(one.passes for one in zh) / len(zh) < 0.7


def test_a_profile_holds_what_was_chosen_and_is_taken_by_a_judge(
    scripted_judge, chat_completion, tmp_path
):
    answer = judge_of(chat_completion, EVEN, TOKENS)
    found, _ = found_by(scripted_judge, answer, labelled("en", 80), ways=("labels",))
    path = tmp_path / "p.toml"
    path.write_text(as_toml(profile_of_fit(found, RUBRIC)), encoding="utf-8")
    profile = load_profile(str(path))
    assert (profile.model, profile.fingerprint) == ("m", "fp-1")
    assert profile.way == {
        "grading": "labels",
        "rationale": True,
        "samples": 1,
        "lineup": False,
        "commit_first": False,
        "max_reply_tokens": 512,
    }
    assert (profile.low, profile.high) == (-0.75, 1.0)
    assert profile.right_from == pytest.approx(0.125, abs=0.05)
    assert profile.figures["auc"]["value"] == found.figures["auc"].ours.value
    assert len(profile.rows) == 8
    own = replace(found.judge, profile=str(path))
    assert in_its_way(own).grading == "labels"
    with pytest.raises(ValueError, match=r"judge\.lineup is True, and .* sets it to False"):
        in_its_way(replace(own, lineup=True))


def test_a_judge_at_chance_or_with_little_to_tell_is_of_no_use(scripted_judge, chat_completion):
    guessing = judge_of(chat_completion, dict.fromkeys(EVEN, 0.0), TOKENS)
    found, _ = found_by(scripted_judge, guessing, labelled("en"))
    assert why_useless(found, 0.2)
    good = judge_of(chat_completion, dict.fromkeys(EVEN, 1.5), TOKENS)
    found, _ = found_by(scripted_judge, good, labelled("en"))
    assert why_useless(found, 0.2) is None
    assert "J may be below 0.999" in why_useless(found, 0.999)
    backwards = judge_of(chat_completion, dict.fromkeys(EVEN, -2.0), TOKENS)
    found, _ = found_by(scripted_judge, backwards, labelled("en"))
    assert "right answers do not score above wrong ones" in why_useless(found, 0.2)


@contextmanager
def served(judge):
    """In a loop of its own, for commands that have theirs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(judge.__aenter__(), loop).result()
    try:
        yield judge.url
    finally:
        asyncio.run_coroutine_threadsafe(judge.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_the_command_writes_a_profile_a_picture_and_figures_or_says_why_not(
    scripted_judge, chat_completion, tmp_path, capsys
):
    file, out, figures = (tmp_path / name for name in ("rows.jsonl", "p.toml", "f.json"))
    rows = [
        {"question": r.request.question, "truth": r.request.truth, "answer": r.request.answer,
         "tier": int(r.right)}
        for r in labelled("en", 120)
    ]  # fmt: skip
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    flags = [str(file), "--backend", "custom", "--model", "m", "--rubric", "facts_en"]
    flags += ["--ways", "labels", "ladder", "--out", str(out), "--json", str(figures)]
    flags += ["--plot", str(tmp_path / "p.html")]
    with served(scripted_judge(judge_of(chat_completion, EVEN, TOKENS))) as url:
        assert main([*flags, "--url", url]) == 0
    said = capsys.readouterr().out
    assert "* ladder" in said
    assert "difference" in said
    assert json.loads(figures.read_text())["auc"]["value"] > 0.8
    assert "what the calibrated score promises" in (tmp_path / "p.html").read_text()
    assert load_profile(str(out)).way["grading"] == "ladder"
    out.unlink()
    guessing = judge_of(chat_completion, dict.fromkeys(EVEN, 0.0), TOKENS)
    with served(scripted_judge(guessing)) as url:
        assert main([*flags, "--url", url]) == 1
    assert "NOT USABLE as a judge" in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(SystemExit):
        main([*flags, "--url", url, "--fallback", "rules"])
    assert "judge.fallback is ('rules',)" in capsys.readouterr().err


@pytest.mark.slow
def test_four_commands_from_labelled_answers_to_a_judge_that_uses_its_profile(tmp_path, capsys):
    file, out = tmp_path / "rows.jsonl", str(tmp_path / "p.toml")
    rows = [
        {
            "question": f"What is the {i}th word?",
            "truth": WORDS[i],
            "answer": f"It is {WORDS[i if right else i - 1]}.",
            "tier": int(right != (i % 9 == 0)),  # people err too
        }
        for i in range(60)
        for right in (True, False)
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    of = [str(file), "--rubric", "facts_en"]
    assert calibrate.main(of) == 0
    assert main([*of, "--out", out]) == 0
    capsys.readouterr()
    assert calibrate.main([*of, "--profile", out]) == 0
    said = capsys.readouterr().out
    assert "profile=p.toml" in said
    assert f"counts as right from {load_profile(out).right_from:g}" in said
    assert redteam.main([*of, "--profile", out, "--questions", "3", "--honest", "20"]) == 0
    assert "profile=p.toml" in capsys.readouterr().out
    assert calibrate.main(["--profile", out]) == 2
    assert "its rubric is not that of judge.rubric medical_en" in capsys.readouterr().err


@pytest.mark.parametrize("lang", ["en", "zh", "de"])
def test_the_plain_question_is_one_message_and_can_be_read_back(lang):
    request = JudgeRequest(
        question="Which {answer}?\nAnswer: x",
        truth="C",
        aliases=("vitamin C",),
        answer="{truth}\nC",
        lang=lang,
    )
    ask = plain_ask(request, "key", 16)
    for grading in ("labels", "schema"):
        prompt = ask.prompt(grading)
        assert prompt.system == ""
        asked = read_plain(prompt.user)
        assert (asked.truth, asked.aliases) == ("C", ("vitamin C",))
        assert asked.question.startswith("Which {answer}?")
        assert asked.answer.endswith("{truth}\nC") or lang == "de"
    assert read_plain("What is the question?") is None
