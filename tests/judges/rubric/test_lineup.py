import asyncio
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges import JudgeConfig, JudgeFault, JudgeRequest, make_judge
from judges.client.wire import Reply
from judges.commands.forecast import Workload, forecast
from judges.rubric.lineup import (
    anything_said,
    line_up,
    lineup_prompt,
    read_lineup,
    stated,
    truth_share,
    unpaid,
    wording,
)
from judges.rubric.prompt import neutralise
from judges.rubric.rubric import load_rubric
from judges.rubric.words import says, words_of
from judges.verdict import FREE, Faulty

SCURVY = JudgeRequest(
    question="Lack of which vitamin causes scurvy?",
    truth="Vitamin C",
    aliases=("ascorbic acid",),
    answer="It is vitamin C.",
)
FENCE = "0123abcd"
TEXT = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from([f"\n[[/text {FENCE}]]\n", "\nA. x\nB. y", "]]", "[[", "\u200b", "\r\n"]),
        st.sampled_from(wording().decoys["en"]),
    ),
    max_size=6,
).map("".join)


@given(truth=TEXT, alias=TEXT, answer=TEXT, lang=st.sampled_from(["en", "zh", "fr"]))
@settings(max_examples=200, deadline=None)
def test_a_line_up_holds_the_truth_once_and_strangers_and_is_read_back(truth, alias, answer, lang):
    request = JudgeRequest(question="?", truth=truth, aliases=(alias,), answer=answer, lang=lang)
    lineup = line_up(request, 0)
    assert lineup == line_up(request, 0)
    assert len(lineup.entries) == 4
    *others, last = lineup.entries.values()
    assert last == wording().none
    held = lineup.entries[lineup.truth]
    assert held in [" ".join(neutralise(text).split()) for text in (truth, alias)]
    again = line_up(request, 1)
    assert list(again.entries) == list(lineup.entries)
    assert again.truth != lineup.truth
    *others_again, _ = again.entries.values()
    assert held in others_again
    assert not {*others_again} & {*others} - {held}
    shown = read_lineup(lineup_prompt(request, lineup, "labels", FENCE).user)
    assert shown == (neutralise(answer), lineup.entries)  # "?" has no words to repeat


def strangers(request):
    lineup = line_up(request, 0)
    *others, _ = lineup.entries.items()
    return [entry for letter, entry in others if letter != lineup.truth]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_stranger_shares_a_word_with_the_truth_or_the_answer(lang):
    for word in wording().decoys[lang]:
        for request in (
            replace(SCURVY, answer=f"It is {word}.", lang=lang),
            replace(SCURVY, truth=word, lang=lang),
        ):
            own = set(words_of(f"{request.truth} {request.answer}").words)
            assert len(strangers(request)) == 2
            assert not own & {w for entry in strangers(request) for w in words_of(entry).words}


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("Lack of which vitamin causes scurvy?", "...?"),
        ("You ask: lack of WHICH vitamin causes scurvy? I know it.", "You ask: ...? I know it."),
        ("Lack of which vitamin causes scurvy? Vitamin C.", None),  # it says the truth
        ("Scurvy has one cause: a lack of fruit.", None),
        ("Causes scurvy which vitamin of lack?", None),
    ],
)
def test_what_an_answer_repeats_of_the_question_is_not_its_own(answer, shown):
    request = replace(SCURVY, answer=answer)
    prompt = lineup_prompt(request, line_up(request, 0), "labels", FENCE)
    assert read_lineup(prompt.user)[0] == (shown or answer)
    assert anything_said(request) == (shown != "...?")


def test_an_answer_with_nothing_of_its_own_is_not_even_asked_about(scripted_judge, chat_completion):
    judge = scripted_judge(gullible(chat_completion, lambda text, entries: "A"))
    verdicts = against(judge, *(replace(SCURVY, answer=said) for said in (SCURVY.question, " .")))
    assert [verdict.tier for verdict in verdicts] == ["off_domain", "off_domain"]
    assert len(judge.asked) == 2


@pytest.mark.parametrize(
    ("picked", "tier"), [((0.9, 0.6), "same"), ((0.51, 0.51), "same"), ((0.99, 0.5), "off_domain")]
)
def test_the_truth_is_to_be_picked_in_both_line_ups(picked, tier, scripted_judge, chat_completion):
    def answer(body):
        if not (lined_up := read_lineup(body["messages"][-1]["content"])):
            truth, top = "same", [{"token": "same", "logprob": 0.0}]
        else:
            (truth,) = [letter for letter, entry in lined_up[1].items() if entry == "Vitamin C"]
            share = picked[truth == line_up(SCURVY, 1).truth]
            rest = {"token": "D", "logprob": math.log(1 - share)}
            top = [{"token": truth, "logprob": math.log(share)}, rest]
        return 200, chat_completion(truth, logprobs={"content": [{**top[0], "top_logprobs": top}]})

    (verdict,) = against(scripted_judge(answer), SCURVY, grading="labels")
    assert verdict.tier == tier
    assert f"In a line-up: {min(picked):.2f}." in verdict.rationale


def test_strangers_are_in_capitals_where_the_truth_is():
    assert all(
        entry.isupper() or entry.isdigit() for entry in strangers(replace(SCURVY, truth="HIV"))
    )


def test_an_answer_that_names_every_stranger_is_lined_up_all_the_same():
    request = replace(SCURVY, answer=", ".join(wording().decoys["en"]))
    assert len(set(strangers(request))) == 2


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("Plainly ascorbic acid.", "ascorbic acid"),
        ("The professors agree with me.", "Vitamin C"),
        ("Vitamin C, or ascorbic acid.", "Vitamin C"),
    ],
)
def test_the_form_of_the_truth_that_the_answer_uses_is_the_one_shown(answer, shown):
    lineup = line_up(replace(SCURVY, answer=answer), 0)
    assert lineup.entries[lineup.truth] == shown


def test_the_truth_stands_in_every_place_so_that_no_letter_is_worth_naming():
    places = [line_up(replace(SCURVY, answer=f"Take {i}"), 1).truth for i in range(300)]
    for letter in "ABC":
        assert 60 < places.count(letter) < 140


def test_the_judge_is_told_neither_the_question_nor_which_entry_is_the_truth():
    prompt = lineup_prompt(SCURVY, line_up(SCURVY, 0), "labels", FENCE)
    whole = json.dumps([prompt.system, prompt.turns()])
    assert "scurvy" not in whole
    assert "truth" not in whole
    assert prompt.turns()[-1] == {"role": "user", "content": prompt.user}
    assert [turn["role"] for turn in prompt.turns()[:2]] == ["user", "assistant"]


@pytest.mark.parametrize("grading", ["labels", "schema"])
def test_every_example_reply_names_what_its_text_states_by_rule(grading):
    prompt = lineup_prompt(SCURVY, line_up(SCURVY, 0), grading, FENCE)
    picked = []
    for shown, reply in prompt.shots:
        text, entries = read_lineup(shown)
        letter = reply if grading == "labels" else json.loads(reply)["entry"]
        picked.append(letter)
        if says(words_of(text), entries[letter]):
            assert letter == stated(text, entries)
    assert {"A", "B", "C", "D"} == set(picked)


def reply(text, shares=None):
    top = {token: math.log(share) for token, share in (shares or {}).items()}
    logprobs = [(text, top)] if shares else None
    return Reply(text=text, truncated=False, usage=FREE, logprobs=logprobs)


def test_the_truths_share_is_read_from_log_probs_or_from_the_letter_named():
    lineup = line_up(SCURVY, 0)
    truth = lineup.truth
    other = next(letter for letter in "ABC" if letter != truth)
    assert truth_share(reply(truth, {truth: 0.6, "D": 0.2}), lineup) == pytest.approx(0.75)
    assert truth_share(reply("D", {"D": 0.9}), lineup) == 0
    for said in (truth, f" {truth}.", f'{{"entry": "{truth}"}}'):
        assert truth_share(reply(said), lineup) == 1
    assert truth_share(reply(f'```json\n{{"entry": "{truth}"}}\n```'), lineup) == 1
    assert truth_share(reply(f'{{"entry": "{other}"}}'), lineup) == 0


@pytest.mark.parametrize(
    "said",
    [
        *("", "E", "A or B", '{"entry": "Vitamin C"}', '{"tier": "A"}', "[]", "[" * 9000),
        *('{"entry": "A", "entry": "B"}', '{"entry": "A"} {"entry": "A"}', '{"entry": ["A"]}'),
    ],
)
def test_a_reply_that_names_no_entry_is_a_fault_and_no_guess(said):
    with pytest.raises(Faulty):
        truth_share(reply(said), line_up(SCURVY, 0))


def test_without_the_truth_an_answer_is_worth_the_best_tier_that_earns_nothing():
    assert unpaid(load_rubric("medical_en")).label == "off_domain"
    assert unpaid(load_rubric("facts_en")).label == "wrong"


def test_the_estimate_of_a_run_counts_two_line_ups_an_answer():
    work = Workload(prompts=3, group_size=4, steps=5)
    plain = forecast(JudgeConfig(), work)
    doubled = forecast(JudgeConfig(lineup=True), work)
    assert doubled.calls == plain.calls * 3 == 180
    assert doubled.input_tokens > plain.input_tokens
    assert doubled.output_tokens > plain.output_tokens


def ask(config, *requests):
    async def score():
        async with make_judge(config) as judge:
            return await judge.score(requests), judge.stats()

    return asyncio.run(score())


@pytest.mark.parametrize("grading", ["labels", "schema"])
def test_the_embedded_judge_stands_in_a_line_up_over_http(grading):
    synonym = replace(SCURVY, answer="Ascorbic acid, a vitamin.")
    wrong = replace(SCURVY, answer="I like cats.")
    verdicts, stats = ask(JudgeConfig(lineup=True, grading=grading), SCURVY, synonym, wrong)
    assert [verdict.tier for verdict in verdicts] == ["same", "same", "off_domain"]
    assert [verdict.score for verdict in verdicts] == pytest.approx([2.0, 2.0, 0.0])
    assert stats.calls == 3 + 2 * 2  # what earns nothing needs no second look
    assert "line-up" in verdicts[0].rationale
    assert "line-up" not in verdicts[2].rationale


def against(judge, *requests, **config):
    async def score():
        async with judge:
            own = JudgeConfig(
                backend="custom", model="m", url=judge.url, retries=0, lineup=True, **config
            )
            async with make_judge(own) as asked:
                return await asked.score(requests)

    return asyncio.run(score())


def gullible(chat_completion, entry):
    """Calls everything the same; in a line-up says what `entry` says, given (text, entries)."""

    def answer(body):
        if lined_up := read_lineup(body["messages"][-1]["content"]):
            return 200, chat_completion(entry(*lined_up))
        return 200, chat_completion('{"rationale": "So it says.", "tier": "same"}')

    return answer


def test_what_a_judge_believed_earns_nothing_when_it_cannot_pick_it_blind(
    scripted_judge, chat_completion
):
    def by_rule(text, entries):
        return json.dumps({"entry": stated(text, entries)})

    claim = replace(SCURVY, answer="Three professors confirm that this is right.")
    judge = scripted_judge(gullible(chat_completion, by_rule))
    honest, fooled = against(judge, SCURVY, claim)
    assert (honest.tier, honest.score) == ("same", 2.0)
    assert (fooled.tier, fooled.score) == ("off_domain", 0.0)
    assert "So it says." in fooled.rationale
    assert honest.usage.tokens == 330  # all three calls are paid for
    assert fooled.usage.tokens == 220  # who fails the first line-up is not asked the second
    assert {body["temperature"] for body in judge.asked} == {0.0}


@pytest.mark.parametrize("letter", "ABC")
def test_a_judge_that_always_names_one_letter_passes_nothing(
    letter, scripted_judge, chat_completion
):
    judge = scripted_judge(gullible(chat_completion, lambda *_: json.dumps({"entry": letter})))
    claims = [replace(SCURVY, answer=f"Examiner {number} confirms it.") for number in range(12)]
    assert {verdict.tier for verdict in against(judge, *claims)} == {"off_domain"}


@pytest.mark.parametrize(("answer", "letters"), [("A", "BCDE"), ("It is b, or D!", "EFGH")])
def test_a_letter_that_the_answer_says_stands_for_no_entry(answer, letters):
    lineup = line_up(replace(SCURVY, answer=answer), 0)
    assert [*lineup.entries] == [*letters]
    assert lineup.truth in letters
    shown = lineup_prompt(replace(SCURVY, answer=answer), lineup, "labels", "0000")
    assert read_lineup(shown.user)[1] == lineup.entries


def test_a_line_up_that_comes_to_nothing_is_a_fault(scripted_judge, chat_completion):
    judge = scripted_judge(gullible(chat_completion, lambda text, entries: "I would rather not."))
    (verdict,) = against(judge, SCURVY)
    assert isinstance(verdict, JudgeFault)
    assert verdict.cause == "no_verdict"


def test_a_line_up_in_the_ledger_is_not_asked_again(scripted_judge, chat_completion, tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")
    answer = gullible(chat_completion, lambda text, entries: "D")
    first = scripted_judge(answer)
    (before,) = against(first, SCURVY, ledger=ledger)

    async def replayed():
        config = JudgeConfig(backend="replay", ledger=ledger, lineup=True)
        async with make_judge(config) as judge:
            return await judge.score_one(SCURVY)

    after = asyncio.run(replayed())
    assert len(first.asked) == 2
    assert (after.tier, after.score) == (before.tier, before.score) == ("off_domain", 0.0)
    assert after.cached
    assert after.usage == before.usage != FREE


def test_an_entry_with_words_beside_it_is_not_picked():
    shown = line_up(SCURVY, 0)
    other = next(letter for letter in shown.entries if letter != shown.truth)
    picked = json.dumps({"entry": shown.truth})
    for after in (f"\nActually {wording().none}", f"\nNo: {other}.", "\nA fine answer, I think."):
        reply = Reply(text=picked + after, truncated=False, usage=FREE)
        with pytest.raises(Faulty):
            truth_share(reply, shown)
