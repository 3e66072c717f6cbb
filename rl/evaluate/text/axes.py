"""What each column's answers are worth from 1 to 5 on several axes, by judges/axes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from judges import JudgeConfig
from judges.axes.axes import load_axes
from judges.axes.command import check_judge
from judges.axes.figures import SAME_BY_CHANCE
from judges.axes.grader import AxesGrader
from judges.axes.question import Rated
from judges.commands.score import verdict_row
from judges.verdict import Verdict
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


class Axes:
    is_against_first = False

    def __init__(self, name: str, answers: Answers, judge: JudgeConfig) -> None:
        self.name, self.answers_of, self.items = name, answers.name, answers.items
        self._judge, self._samples = judge, answers.samples
        self._axes = load_axes()
        self.facts: Mapping[str, Any] = {
            "written as": answers.name,
            **answers.facts,
            "judge": facts_of_judge(judge),
            "axes": self._axes.sha,
        }
        self.metrics = (
            Metric(name="mean rating", better="higher", of=mean_of("mean")),
            *(Metric(name=axis, better="higher", of=mean_of(axis)) for axis in self._axes.names),
            Metric(name="judge's faults", better=None, of=mean_of("judge_fault"), is_share=True),
        )
        try:
            check_judge(judge)
        except ValueError as error:
            raise Refusal(f"{name}: {error}") from None

    def score_answers(
        self, own: Sequence[Score], first: Sequence[Score] | None, done: Collection[str]
    ) -> Iterator[Score]:
        left = [score for score in own if score.item not in done]
        at_once = max(1, ASKED_AT_ONCE // self._samples)
        with opened_judge(self._judge, partial(AxesGrader, self._axes)) as (background, ask):
            for start in range(0, len(left), at_once):
                some = left[start : start + at_once]
                requests = [each.request() for score in some for each in written_in(score)]
                verdicts = background.call(ask(requests))
                for place, score in enumerate(some):
                    here = place * self._samples
                    yield self._in_one(score, verdicts[here : here + self._samples])

    def hold(self, scores: Sequence[Score]) -> None:
        refuse_faults(self.name, scores)
        ratings = [
            score.values[axis]
            for score in scores
            for axis in self._axes.names
            if axis in score.values
        ]
        rated = len(ratings) // len(self._axes.names)
        if rated > SAME_BY_CHANCE and len(set(ratings)) == 1:
            raise Refusal(
                f"{self.name}: the judge gives the answers to all {rated} questions {ratings[0]:g} "
                "on every axis: it has told none from another. Choose another judge"
            )

    def _in_one(self, score: Score, verdicts: Sequence[Verdict]) -> Score:
        """Of a question, the mean over its answers."""
        values = dict(fault_share(verdicts))
        if rated := [verdict for verdict in verdicts if isinstance(verdict, Rated)]:
            values |= {
                axis: fmean(verdict.ratings[axis] for verdict in rated) for axis in self._axes.names
            }
            values["mean"] = fmean(verdict.score for verdict in rated)
        return Score(
            item=score.item,
            values=values,
            shown={
                "question": score.shown["question"],
                "ratings": [
                    verdict_row(each)
                    | ({"ratings": each.ratings} if isinstance(each, Rated) else {})
                    for each in verdicts
                ],
            },
        )
