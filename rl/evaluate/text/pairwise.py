"""Each column's answers against the first column's, blind and in both orders: judges/pairwise."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import Any

from judges import JudgeConfig
from judges.commands.score import verdict_row
from judges.pairwise.figures import TIES_BY_CHANCE, Match, only_looks_at_the_place
from judges.pairwise.grader import FIRST, NEITHER, SECOND, PairGrader, named
from judges.pairwise.matches import check_judge, matched
from judges.pairwise.question import name_of_wording
from rl.evaluate.task import Metric, Score, mean_of
from rl.evaluate.text.answers import Answers
from rl.evaluate.text.judging import (
    ASKED_AT_ONCE,
    facts_of_judge,
    fault_share,
    opened_judge,
    refuse_faults,
    written_in,
)
from rl.refusal import Refusal

OUTCOMES = {"won": FIRST, "tied": NEITHER, "lost": SECOND}


class Pairwise:
    is_against_first = True
    metrics = (
        Metric(name="preferred", better="higher", of=mean_of("preferred"), is_share=True),
        *(Metric(name=name, better=None, of=mean_of(name), is_share=True) for name in OUTCOMES),
        Metric(name="who stands first", better=None, of=mean_of("first"), is_share=True),
        Metric(name="alike in both orders", better=None, of=mean_of("alike"), is_share=True),
        Metric(name="judge's faults", better=None, of=mean_of("judge_fault"), is_share=True),
    )

    def __init__(self, name: str, answers: Answers, judge: JudgeConfig, *, seed: int) -> None:
        self.name, self.answers_of, self.items = name, answers.name, answers.items
        self._judge, self._seed, self._samples = judge, seed, answers.samples
        self.facts: Mapping[str, Any] = {
            "written as": answers.name,
            **answers.facts,
            "judge": facts_of_judge(judge),
            "wording": name_of_wording(),
        }
        try:
            check_judge(judge)
        except ValueError as error:
            raise Refusal(f"{name}: {error}") from None

    def score_answers(
        self, own: Sequence[Score], first: Sequence[Score] | None, done: Collection[str]
    ) -> Iterator[Score]:
        left = [score for score in own if score.item not in done]
        if first is None:  # against itself nobody is asked
            yield from (
                Score(item=score.item, values={"preferred": 0.5}, shown={}) for score in left
            )
            return
        against = {score.item: score for score in first}
        at_once = max(1, ASKED_AT_ONCE // (2 * self._samples))
        with opened_judge(self._judge, PairGrader) as (background, ask):
            for start in range(0, len(left), at_once):
                some = left[start : start + at_once]
                pairs = [
                    zip(written_in(score), written_in(against[score.item]), strict=True)
                    for score in some
                ]
                matches = background.call(matched([*chain(*pairs)], ask, seed=self._seed))
                for place, score in enumerate(some):
                    here = place * self._samples
                    yield _in_one(score, matches[here : here + self._samples])

    def hold(self, scores: Sequence[Score]) -> None:
        refuse_faults(self.name, scores)
        first = mean_of("first")(scores)
        if first is not None and only_looks_at_the_place(first):
            place = "first" if first > 0.5 else "second"
            raise Refusal(
                f"{self.name}: the judge names whoever stands {place}, whichever answer it is: it "
                "has not compared them. Choose another judge"
            )
        asked = [score for score in scores if "first" in score.values]
        if len(asked) > TIES_BY_CHANCE and all(score.values["tied"] == 1 for score in asked):
            raise Refusal(
                f"{self.name}: the judge names neither, of all pairs of answers to {len(asked)} "
                "questions. Choose another judge, or another --judge.grading"
            )


def _in_one(score: Score, matches: Sequence[Match]) -> Score:
    """Of a question, the mean over its pairs of answers."""
    judged = [shares for match in matches if (shares := match.shares)]
    asked = [match for match in matches if not match.is_same]
    compared = [shares for match in asked if (shares := match.shares)]
    values = dict(fault_share([said for each in asked for said in (each.a_first, each.b_first)]))
    if judged:
        names = [named(fmean(shares)) for shares in judged]
        values |= {name: names.count(said) / len(names) for name, said in OUTCOMES.items()}
        values["preferred"] = fmean(map(fmean, judged))
    if compared:
        values["first"] = fmean((a + 1 - b) / 2 for a, b in compared)
        values["alike"] = fmean(named(a) == named(b) for a, b in compared)
    return Score(
        item=score.item,
        values=values,
        shown={
            "question": score.shown["question"],
            "matches": [
                {"a_first": verdict_row(each.a_first), "b_first": verdict_row(each.b_first)}
                for each in matches
            ],
        },
    )
