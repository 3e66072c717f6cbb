import pytest

from judges import FaultCause, Scored
from judges.rubric.rubric import load_rubric
from judges.verdict import Faulty, Usage
from judges.vote import combine

RUBRIC = load_rubric("medical_en")


def scored(*tiers):
    return [
        Scored(tier=tier, score=RUBRIC.tier(tier).score, usage=Usage(input_tokens=10))
        for tier in tiers
    ]


@pytest.mark.parametrize(
    ("tiers", "vote", "tier", "score"),
    [
        (("same", "same", "contradicts"), "median", "same", 2.0),
        (("same", "off_domain", "contradicts"), "median", "off_domain", 0.0),
        (("same", "reasonable"), "median", "reasonable", 1.25),
        (("same", "same", "contradicts"), "majority", "same", 2.0),
        (("same",), "median", "same", 2.0),
    ],
)
def test_votes_become_one_verdict(tiers, vote, tier, score):
    verdict = combine(scored(*tiers), [], vote, RUBRIC)
    assert (verdict.tier, verdict.score) == (tier, score)
    assert verdict.usage.input_tokens == 10 * len(tiers)


def test_a_tie_is_no_majority():
    with pytest.raises(Faulty, match="a tie: 1 same, 1 contradicts") as caught:
        combine(scored("same", "contradicts"), [], "majority", RUBRIC)
    assert caught.value.cause is FaultCause.NO_MAJORITY


@pytest.mark.parametrize(("came", "asked"), [(0, 1), (1, 2), (1, 3), (2, 4)])
def test_half_of_the_judges_are_too_few(came, asked):
    missing = [Faulty(FaultCause.EMPTY, "nothing said", Usage(input_tokens=1))] * (asked - came)
    with pytest.raises(Faulty, match=f"{came} of {asked}.*nothing said") as caught:
        combine(scored(*["same"] * came), missing, "median", RUBRIC)
    assert caught.value.cause is (FaultCause.NO_MAJORITY if came else FaultCause.EMPTY)
    assert caught.value.usage.input_tokens == 10 * came + asked - came


def test_judges_who_are_missing_because_they_are_down_make_it_an_outage():
    missing = [Faulty(FaultCause.EMPTY, "nothing said"), Faulty(FaultCause.TIMEOUT, "silence")]
    with pytest.raises(Faulty, match="1 of 3 verdicts came; silence") as caught:
        combine(scored("same"), missing, "median", RUBRIC)
    assert caught.value.cause is FaultCause.TIMEOUT
