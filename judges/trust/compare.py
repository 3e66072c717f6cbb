"""What people said of answers against what a judge said, in figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from judges.rubric.rubric import Rubric
from judges.trust.agreement import (
    Estimate,
    accuracy_at_held_out_cut,
    auc,
    best_cut,
    bootstrap,
    calibration_error,
    share,
    weighted_kappa,
    youden,
)
from judges.trust.labelled import Labelled, ends_of, worth_of
from judges.verdict import JudgeFault, Scored, Verdict

FAULT = "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    row: Labelled
    verdict: Verdict

    @property
    def said(self) -> str:
        return self.verdict.tier if isinstance(self.verdict, Scored) else FAULT

    @property
    def score(self) -> float:
        assert isinstance(self.verdict, Scored)
        return self.verdict.score


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Every figure is of the scored rows alone, but for the two that count faults as misses."""

    rows: int
    scored: int
    faults: Mapping[str, int]
    accuracy: Estimate
    """Right or wrong."""
    accuracy_faults_missed: Estimate
    tier_accuracy: Estimate
    """The very tier; nothing where labels are only right and wrong."""
    tier_accuracy_faults_missed: Estimate
    auc: Estimate
    """The chance that a right answer scores above a wrong one."""
    kappa: Estimate
    """Of the tiers' ranks, with quadratic weights."""
    j: Estimate
    """The share of right answers that pass less that of wrong ones: 0 is what chance gives."""
    calibration_error: Estimate
    """How far scores are from what people's labels are worth, as a share of the range."""
    best_cut: float | None
    """The score from which `right` would agree most with people, on these very rows. None where it
    does best by calling nothing right."""
    accuracy_at_held_out_cut: float | None
    """With a cut that each half of the rows chooses for the other."""


def compare(outcomes: Sequence[Outcome], rubric: Rubric, cut: float, *, seed: int) -> Agreement:
    scored = [each for each in outcomes if isinstance(each.verdict, Scored)]
    tiers = any(each.row.tier for each in outcomes)
    by_score = sorted(rubric.tiers, key=lambda tier: tier.score)
    rank = {tier.label: i for i, tier in enumerate(by_score)}

    def judged_right(each: Outcome) -> bool:
        return each.score >= cut

    def accuracy(rows: Sequence[Outcome]) -> float | None:
        return share([each.said != FAULT and judged_right(each) == each.row.right for each in rows])

    def tier_accuracy(rows: Sequence[Outcome]) -> float | None:
        return share([each.said == each.row.tier for each in rows]) if tiers else None

    def area(rows: Sequence[Outcome]) -> float | None:
        return auc([each.score for each in rows], [each.row.right for each in rows])

    def kappa(rows: Sequence[Outcome]) -> float | None:
        if tiers:
            return weighted_kappa([(rank[each.row.label], rank[each.said]) for each in rows])
        return weighted_kappa([(each.row.right, judged_right(each)) for each in rows])

    def j(rows: Sequence[Outcome]) -> float | None:
        return youden([judged_right(each) for each in rows], [each.row.right for each in rows])

    low, high = ends_of([each.row for each in outcomes], rubric)

    def off(rows: Sequence[Outcome]) -> float | None:
        return calibration_error(
            [(each.score - low) / (high - low) for each in rows],
            [(worth_of(each.row, rubric) - low) / (high - low) for each in rows],
        )

    def estimate(
        statistic: Callable[[Sequence[Outcome]], float | None], rows: Sequence[Outcome] = scored
    ) -> Estimate:
        return bootstrap(rows, statistic, by=lambda each: each.row.request.question, seed=seed)

    scores, right = [each.score for each in scored], [each.row.right for each in scored]
    best = best_cut(scores, right)
    return Agreement(
        rows=len(outcomes),
        scored=len(scored),
        faults=faults_of([each.verdict for each in outcomes]),
        accuracy=estimate(accuracy),
        accuracy_faults_missed=estimate(accuracy, outcomes),
        tier_accuracy=estimate(tier_accuracy),
        tier_accuracy_faults_missed=estimate(tier_accuracy, outcomes),
        auc=estimate(area),
        kappa=estimate(kappa),
        j=estimate(j),
        calibration_error=estimate(off),
        best_cut=None if best == math.inf else best,
        accuracy_at_held_out_cut=accuracy_at_held_out_cut(scores, right, seed=seed),
    )


def faults_of(verdicts: Sequence[Verdict]) -> dict[str, int]:
    causes = (each.cause.value for each in verdicts if isinstance(each, JudgeFault))
    return dict(Counter(causes))


def confusion(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Label, then what the judge said, a tier or `fault`: how often."""
    table: dict[str, Counter[str]] = {}
    for each in outcomes:
        table.setdefault(each.row.label, Counter())[each.said] += 1
    return {label: dict(said) for label, said in table.items()}


def laid_out(
    table: Mapping[str, Mapping[str, int]], tiers: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Labels and tiers in the rubric's order, with a count for each pair."""
    labels = [label for label in dict.fromkeys((*tiers, *table)) if label in table]
    return {
        label: {said: table[label].get(said, 0) for said in (*tiers, FAULT)} for label in labels
    }


def roc(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """(wrong answers passed, right answers passed) for every cut, strictest first."""
    scored = [each for each in outcomes if isinstance(each.verdict, Scored)]
    right = [each.row.right for each in scored]
    if len(set(right)) < 2:
        return []
    metrics: Any = import_module("sklearn.metrics")
    scores = [each.score for each in scored]
    wrongs, rights, _ = metrics.roc_curve(right, scores, drop_intermediate=False)
    return list(zip(wrongs.tolist(), rights.tolist(), strict=True))
