"""The real client against the embedded judge while a fifth of everything goes wrong."""

import asyncio

import pytest

from judges import FaultCause, JudgeConfig, JudgeFault, JudgeRequest, make_judge
from judges.serve.child import ChildServer
from judges.serve.misbehave import KINDS, parse_faults

pytestmark = pytest.mark.slow

TRUE_TIER = {"Vitamin C": "same", "I like cats.": "off_domain", "": "incoherent"}


def requests(count):
    answers = list(TRUE_TIER)
    return [
        JudgeRequest(question=f"Q{i}?", truth="Vitamin C", answer=answers[i % len(answers)])
        for i in range(count)
    ]


def under(faults, count, **config):
    async def go():
        async with ChildServer(["--faults", faults, "--seed", "1"]) as server:
            judge_config = JudgeConfig(
                backend="custom", model="rules", url=server.url, **{"timeout_s": 1.0, **config}
            )
            async with make_judge(judge_config) as judge:
                return await judge.score(requests(count)), judge.stats()

    return asyncio.run(go())


@pytest.mark.parametrize(("grading", "asks"), [("schema", 1), ("labels", 1), ("ladder", 2)])
def test_under_faults_of_every_kind_all_end_scored_rightly_or_named(grading, asks):
    verdicts, stats = under("all=0.2", 320, grading=grading, deadline_s=60)
    for request, verdict in zip(requests(320), verdicts, strict=True):
        if isinstance(verdict, JudgeFault):
            assert isinstance(verdict.cause, FaultCause)
            assert verdict.detail
        else:
            assert verdict.tier == TRUE_TIER[request.answer]
            assert ("1.00" in verdict.rationale) == (grading != "schema")  # none fell back
    assert stats.scored + stats.fault_count == 320
    assert stats.scored > 320 * 0.75**asks
    assert stats.faults
    assert stats.troubles  # retried away, and still counted


SPOILED = {
    "truncated": FaultCause.TRUNCATED,
    "cut_body": FaultCause.BAD_REPLY,
    "wrong_enum": FaultCause.UNKNOWN_TIER,
    "nan": FaultCause.BAD_SCORE,
    "1e9": FaultCause.BAD_SCORE,
    "two_verdicts": FaultCause.SEVERAL_VERDICTS,
    "refusal": FaultCause.REFUSED,
    "content_filter": FaultCause.CONTENT_FILTER,
    "empty": FaultCause.EMPTY,
}
UNANSWERED = {
    "500": FaultCause.SERVER_ERROR,
    "reset": FaultCause.RESET,
    "hang": FaultCause.TIMEOUT,
}


@pytest.mark.parametrize(("kind", "cause"), [*SPOILED.items(), *UNANSWERED.items()])
def test_each_kind_has_its_name(kind, cause):
    timeout_s = 0.3 if kind == "hang" else 20.0  # a busy machine is no fault of another kind
    verdicts, _ = under(f"{kind}=1", 1, retries=0, timeout_s=timeout_s, deadline_s=20)
    assert [verdict.cause for verdict in verdicts] == [cause]


@pytest.mark.parametrize("kind", ["429", "429_ms", "429_s", "429_date"])
def test_a_judge_that_never_stops_saying_429_is_named_at_the_deadline(kind):
    verdicts, _ = under(f"{kind}=1", 2, deadline_s=0.8)
    assert {verdict.cause for verdict in verdicts} <= {
        FaultCause.RATE_LIMITED,
        FaultCause.DEADLINE,
    }


def test_a_judge_that_hangs_costs_the_deadline_and_no_more():
    verdicts, _ = under("hang=1", 5, timeout_s=30, deadline_s=0.5)
    assert {verdict.cause for verdict in verdicts} == {FaultCause.DEADLINE}
    assert all(verdict.latency_s >= 0.4 for verdict in verdicts)


def test_faults_are_written_as_shares_and_mistakes_are_explained():
    assert parse_faults("429=0.1, hang=0.05") == {"429": 0.1, "hang": 0.05}
    assert sum(parse_faults("all=0.2").values()) == pytest.approx(0.2)
    assert set(parse_faults("all=0.2")) == set(KINDS)
    for text, said in (
        ("hung=0.1", "Did you mean hang"),
        ("hang", "hang=SHARE"),
        ("hang=2", "from 0 to 1"),
        ("hang=0.6,reset=0.6", "over 1"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_faults(text)
