"""The real client against the real embedded judge, in its own process."""

import asyncio
import json

import pytest

from judges import JudgeConfig, JudgeRequest, Scored, make_judge
from judges.verdict import OUTAGES


def ask(config: JudgeConfig, *answers: str, truth: str = "Vitamin C") -> list:
    requests = [
        JudgeRequest(
            question="Lack of which vitamin causes scurvy?",
            truth=truth,
            aliases=("ascorbic acid",),
            answer=answer,
        )
        for answer in answers
    ]

    async def score():
        async with make_judge(config) as judge:
            return await judge.score(requests), judge.stats()

    return asyncio.run(score())


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "known.jsonl"
    rows = [{"answer": f"Vitamin {c}", "aliases": [], "kind": "vitamin"} for c in "ABCD"]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


ANSWERS = ("Vitamin C", "Vitamin D", "I like cats.", "", "It is ascorbic acid.")
TIERS = ["same", "contradicts", "off_domain", "incoherent", "same"]


def test_verdicts_come_back_in_order_with_the_rubrics_scores(known):
    verdicts, stats = ask(JudgeConfig(known=known), *ANSWERS)
    assert [verdict.tier for verdict in verdicts] == TIERS
    assert [verdict.score for verdict in verdicts] == [2.0, -0.5, 0.0, -1.0, 2.0]
    assert stats.scored == 5
    assert not stats.faults
    assert stats.usage.input_tokens > 0
    assert stats.p50_s is not None


@pytest.mark.parametrize("grading", ["labels", "ladder"])
@pytest.mark.parametrize("defences", [True, False])
def test_log_probs_find_the_same_tiers(known, grading, defences):
    config = JudgeConfig(known=known, grading=grading, defences=defences)
    verdicts, _ = ask(config, *ANSWERS)
    assert [verdict.tier for verdict in verdicts] == TIERS
    assert verdicts[0].score == pytest.approx(2.0)


def test_another_rubric_brings_its_own_tiers_and_scores():
    verdicts, _ = ask(JudgeConfig(rubric="facts_en"), "Vitamin C", "I like cats.")
    assert [(v.tier, v.score) for v in verdicts] == [("correct", 1.0), ("wrong", -0.5)]


def test_a_judge_that_commits_first_still_finds_the_same_tier():
    verdicts, _ = ask(JudgeConfig(commit_first=True), "Vitamin C", "I like cats.")
    assert [verdict.tier for verdict in verdicts] == ["same", "off_domain"]
    assert all(isinstance(verdict, Scored) for verdict in verdicts)


def test_an_embedded_judge_that_was_killed_is_started_again():
    request = JudgeRequest(question="Q?", truth="Vitamin C", answer="Vitamin C")

    async def go():
        async with make_judge(JudgeConfig(retries=0, deadline_s=20)) as judge:
            (child,) = judge._children
            child._process.kill()
            await child._process.wait()
            lost = await judge.score_one(request)
            await judge.wait_until_alive(on_pause=lambda: None, on_resume=lambda s: None)
            return lost, await judge.score_one(request)

    lost, found = asyncio.run(go())
    assert lost.cause in OUTAGES
    assert found.tier == "same"
