import asyncio
import json
import math
from dataclasses import asdict

import pytest

from judges import JudgeConfig
from judges.rubric.rubric import load_rubric
from judges.trust.calibrate import CalibrateConfig, as_text, main, run
from judges.trust.cost import as_line
from judges.trust.labelled import SHIPPED, Fields, read_labelled, right_from, sample
from judges.verdict import FaultCause

RUBRIC = load_rubric("medical_en")
SCURVY = {"question": "Lack of which vitamin causes scurvy?", "truth": "Vitamin C", "lang": "en"}
TIERED = [
    {**SCURVY, "answer": "Vitamin C", "tier": "same"},
    {**SCURVY, "answer": "It is vitamin C.", "tier": "same"},
    {**SCURVY, "answer": "I like cats.", "tier": "off_domain"},
    {**SCURVY, "answer": "A vitamin found in fresh fruit.", "tier": "reasonable"},  # not by rule
    {**SCURVY, "answer": "", "tier": "incoherent"},
    {**SCURVY, "question": "缺乏哪种维生素会引起坏血病？", "truth": "维生素C", "lang": "zh",
     "answer": "维生素C。", "tier": "same"},
]  # fmt: skip
JUDGED = [
    {"question": "Capital of Australia?", "gold": "Canberra/Canberra ACT", "said": said, "ok": ok}
    for said, ok in (("Canberra ACT", 1), ("Sydney", 0), ("It is Canberra.", 1), ("Perth", 0))
]


@pytest.fixture
def written(tmp_path):
    def write(rows):
        path = tmp_path / "labelled.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        return str(path)

    return write


def test_the_shipped_answers_are_refused_for_another_rubric():
    rubric = load_rubric("facts_en")
    with pytest.raises(ValueError, match="give a JSONL of your own before the flags"):
        read_labelled(SHIPPED, Fields(), rubric, 0.4)


def test_the_shipped_rows_are_labelled_in_both_languages_and_all_five_tiers():
    rows = read_labelled(SHIPPED, Fields(), RUBRIC, 0.5)
    assert len(rows) >= 120
    counts = {(label, lang): 0 for label in RUBRIC.labels for lang in ("en", "zh")}
    for row in rows:
        counts[row.label, row.request.lang] += 1
    assert min(counts.values()) >= 12


def test_a_file_is_judged_and_told_in_a_table_json_and_a_picture(written, tmp_path, capsys):
    out, picture = tmp_path / "found.json", tmp_path / "found.html"
    args = [written(TIERED), "--json", str(out), "--plot", str(picture), "--backend", "rules"]
    assert main(args) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["confusion"] == {
        "same": {"same": 3},
        "off_domain": {"off_domain": 1},
        "reasonable": {"off_domain": 1},
        "incoherent": {"incoherent": 1},
    }
    overall = found["overall"]
    assert overall["rows"] == overall["scored"] == 6
    assert overall["accuracy"]["value"] == pytest.approx(5 / 6)
    assert overall["tier_accuracy"]["value"] == pytest.approx(5 / 6)
    assert overall["accuracy"]["low"] < 5 / 6 <= overall["accuracy"]["high"]
    assert set(found["by_lang"]) == {"en", "zh"}
    assert found["by_lang"]["zh"]["rows"] == 1
    assert [row["tier"] for row in found["verdicts"]].count("same") == 3
    assert found["input_tokens"] > 0
    table = capsys.readouterr().out
    assert "6 rows, 6 scored, no faults" in table
    assert "weighted kappa" in table
    page = picture.read_text(encoding="utf-8")
    assert '"wrong answers that pass"' in page
    assert '"off_domain"' in page
    assert "<script src=" not in page  # it opens without a network


def test_brackets_are_of_questions_and_not_of_the_rows_that_share_them(written, capsys):
    """A judge that is right on one question of two, each asked ten times, is known from two."""
    other = {**SCURVY, "question": "Which vitamin is in fresh fruit?", "truth": "Ascorbate"}
    rows = [{**SCURVY, "answer": f"Vitamin C, {i}", "tier": "same"} for i in range(10)]
    rows += [{**other, "answer": f"Vitamin C, {i}", "tier": "same"} for i in range(10)]
    found, _ = asyncio.run(run(CalibrateConfig(file=written(rows))))
    accuracy = found.overall.accuracy
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.5, 0.0, 1.0)
    found, _ = asyncio.run(run(CalibrateConfig(file=written(rows[:10]))))
    assert (found.overall.accuracy.low, found.overall.accuracy.high) == (None, None)


def test_answers_labelled_right_or_wrong_are_read_by_the_fields_flags_name(written):
    fields = Fields(truth_field="gold", answer_field="said", label_field="ok", alias_separator="/")
    config = CalibrateConfig(
        file=written(JUDGED), fields=fields, judge=JudgeConfig(rubric="facts_en")
    )
    found, said = asyncio.run(run(config))
    assert said[0]["aliases"] == ("Canberra ACT",)
    assert found.overall.accuracy.value == 1.0
    assert found.overall.auc.value == 1.0
    assert found.overall.kappa.value == 1.0
    assert found.overall.tier_accuracy.value is None
    assert found.confusion == {"right": {"correct": 2}, "wrong": {"wrong": 2}}


def against(judge, config):
    """Calibrates over HTTP with a judge that runs in the same loop."""

    async def calibrate():
        async with judge:
            own = JudgeConfig(
                backend="custom", model="m", url=judge.url, grading=config.judge.grading, retries=0
            )
            return await run(
                CalibrateConfig(file=config.file, judge=own, right_from=config.right_from)
            )

    return asyncio.run(calibrate())


def test_faults_are_counted_apart_and_once_more_as_misses(written, scripted_judge, chat_completion):
    def answer(body):
        user = body["messages"][-1]["content"]
        if "cats" in user:
            return 200, chat_completion("I would rather not say.")
        return 200, chat_completion('{"rationale": "So.", "tier": "same"}')

    rows = [TIERED[0], TIERED[1], TIERED[2], TIERED[4]]  # right, right, fault, wrongly passed
    found, said = against(scripted_judge(answer), CalibrateConfig(file=written(rows)))
    overall = found.overall
    assert (overall.rows, overall.scored) == (4, 3)
    assert overall.faults == {FaultCause.NO_VERDICT: 1}
    assert json.loads(json.dumps(asdict(overall)))["faults"] == {"no_verdict": 1}
    assert overall.accuracy.value == pytest.approx(2 / 3)
    assert overall.accuracy_faults_missed.value == pytest.approx(2 / 4)
    assert overall.tier_accuracy_faults_missed.value == pytest.approx(2 / 4)
    assert found.confusion["off_domain"] == {"fault": 1}
    assert [row["tier"] for row in said] == ["same", "same", None, "same"]


def test_a_verdict_costs_what_the_server_read_anew_and_what_it_had_in_its_cache(
    written, scripted_judge, chat_completion, tmp_path
):
    """The second of two answers finds nine tenths of its prompt in the server's cache."""
    asked = []

    def answer(body):
        asked.append(body)
        reply = chat_completion('{"rationale": "So.", "tier": "same"}')
        cached = {"cached_tokens": 0 if len(asked) == 1 else 90}
        return 200, {**reply, "usage": {**reply["usage"], "prompt_tokens_details": cached}}

    async def calibrate():
        async with scripted_judge(answer) as judge:
            own = JudgeConfig(
                backend="custom", model="m", url=judge.url, ledger=str(tmp_path / "l.sqlite")
            )
            config = CalibrateConfig(file=written(TIERED[:2]), judge=own)
            return [(await run(config))[0].cost for _ in range(2)]

    first, from_the_ledger = asyncio.run(calibrate())
    assert len(asked) == 2
    for cost in (first, from_the_ledger):
        assert (cost.uncached_tokens, cost.cached_tokens, cost.output_tokens) == (55.0, 45.0, 10.0)
    assert min(first.ms_cached, first.ms_uncached) > 0
    assert first.ms == pytest.approx((first.ms_cached + first.ms_uncached) / 2)
    assert (from_the_ledger.ms, from_the_ledger.ms_cached) == (None, None)
    assert "45 from the server's cache, 10 written; -, -" in as_line(from_the_ledger)


def test_j_and_the_calibration_error_are_of_what_passes_and_what_is_promised(
    written, scripted_judge, chat_completion
):
    """It says `correct` to the right answer and to one wrong answer of two.

    Wrong is worth -0.75, between the two tiers that earn nothing; `wrong` is a seventh above it.
    """

    def answer(body):
        tier = "wrong" if "Perth" in body["messages"][-1]["content"] else "correct"
        return 200, chat_completion(json.dumps({"rationale": "So.", "tier": tier}))

    async def calibrate():
        async with scripted_judge(answer) as judge:
            own = JudgeConfig(backend="custom", model="m", url=judge.url, rubric="facts_en")
            fields = Fields(truth_field="gold", answer_field="said", label_field="ok")
            rows = [row for row in JUDGED if row["said"] != "It is Canberra."]
            return (await run(CalibrateConfig(file=written(rows), fields=fields, judge=own)))[0]

    found = asyncio.run(calibrate())
    assert found.overall.j.value == 0.5
    assert found.overall.calibration_error.value == pytest.approx((0 + 1 + 1 / 7) / 3)
    assert "calibration error" in as_text(found)


def test_log_prob_grading_is_ranked_by_its_expected_score(written, scripted_judge, chat_completion):
    """Both answers' likeliest tier is the same; their expectations are not."""

    def answer(body):
        sure = 0.9 if "It is vitamin C." in body["messages"][-1]["content"] else 0.6
        top = [
            {"token": "same", "logprob": math.log(sure)},
            {"token": "in", "logprob": math.log(1 - sure)},
        ]
        return 200, chat_completion("same", logprobs={"content": [{**top[0], "top_logprobs": top}]})

    config = CalibrateConfig(
        file=written([TIERED[1], TIERED[2]]), judge=JudgeConfig(grading="labels"), right_from=1.0
    )
    found, said = against(scripted_judge(answer), config)
    assert {row["tier"] for row in said} == {"same"}
    assert [row["score"] for row in said] == pytest.approx([1.7, 0.8])
    assert found.overall.auc.value == 1.0
    assert found.overall.accuracy.value == 1.0
    assert found.overall.best_cut == pytest.approx(1.7)


def test_a_judge_that_scores_nothing_fails(written, capsys):
    args = [written(TIERED), "--backend", "custom", "--model", "m", "--retries", "0"]
    args += ["--url", "http://127.0.0.1:9/v1", "--deadline-s", "1"]
    assert main(args) == 1
    assert "6 rows, 0 scored" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**SCURVY, "answer": "C", "tier": "excellent"}, "neither a tier of rubric medical_en"),
        ({**SCURVY, "answer": "C"}, "`tier` is None"),
        ({**SCURVY, "response": "C", "tier": 1}, "--answer-field"),
        ({**SCURVY, "answer": "C", "tier": ["same"]}, "line 1"),
        ([1, 2], "line 1"),
    ],
)
def test_a_row_that_is_not_labelled_is_named_with_what_to_type(written, capsys, row, problem):
    assert main([written([row])]) == 2
    assert problem in capsys.readouterr().err


def test_files_that_say_nothing_or_two_things_are_refused(written, tmp_path):
    def refused(path, problem):
        with pytest.raises(ValueError, match=problem):
            read_labelled(path, Fields(), RUBRIC, 0.5)

    refused(tmp_path / "none.jsonl", "no such file")
    refused(written([]), "no rows")
    refused(written([TIERED[0], {**SCURVY, "answer": "C", "tier": 0}]), "some with 0 or 1")


def test_a_sample_holds_every_label_alike_and_is_the_same_for_the_same_seed(written):
    rows = read_labelled(written([TIERED[0]] * 20 + [TIERED[2]] * 4), Fields(), RUBRIC, 0.5)
    for count in (2, 4, 8):
        chosen = sample(rows, count, seed=3)
        assert [row.label for row in chosen].count("off_domain") == count // 2
    assert sample(rows, None, seed=0) == rows
    numbered = [{**TIERED[0], "answer": str(i)} for i in range(50)]
    rows = read_labelled(written(numbered), Fields(), RUBRIC, 0.5)
    assert sample(rows, 10, seed=1) == sample(rows, 10, seed=1) != sample(rows, 10, seed=2)


def test_an_answer_counts_as_right_from_the_lowest_tier_that_earns_something():
    assert right_from(RUBRIC, None) == 0.5
    assert right_from(load_rubric("facts_en"), None) == 0.4
    assert right_from(RUBRIC, 1.0) == 1.0
