"""What a fit found: figures, cuts, and the profile that is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date

from judges.config import JudgeConfig
from judges.fit.arm import Compared, Scale, Seen
from judges.fit.attacked import Choice
from judges.fit.curve import ANY
from judges.fit.profile import Kept, Profile, model_of, raw_score, score_at, way_of
from judges.fit.ways import Tried
from judges.rubric.rubric import Rubric
from judges.trust.cost import Cost
from judges.trust.labelled import Labelled, sample
from judges.verdict import Scored, Verdict

KEPT = 8
"""Rows in a profile, to be asked again before a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What came of it. Figures are of the half that nothing was chosen on."""

    judge: JudgeConfig
    ends: tuple[float, float]
    """What labels are worth at least and at most."""
    halves: tuple[Sequence[Labelled], Sequence[Labelled]]
    tried: Sequence[Tried]
    plain: Tried
    """On the half that was chosen on."""
    choice: Choice = field(default_factory=Choice)
    figures: Mapping[str, Compared] = field(default_factory=dict[str, Compared])
    """Nothing where the chosen way has no scale."""
    seen: Sequence[tuple[Seen, Seen]] = ()
    """Answers of the other half, by the chosen way and by the plain question, where both spoke."""
    costs: tuple[Cost, Cost] | None = None
    """Of a verdict, by the chosen way and by the plain question, on the other half."""
    verdicts: Sequence[Verdict] = ()
    """Of the chosen way, on the other half."""
    fingerprint: str = ""

    @property
    def chosen(self) -> Tried | None:
        return self.choice.way

    @property
    def scale(self) -> Scale | None:
        return self.choice.scale

    @property
    def promises(self) -> dict[str, list[tuple[float, float]]]:
        """What was said to be worth how much, and what it is worth, as shares of the most."""
        sides = list(zip(*self.seen, strict=True)) or [(), ()]
        names = (self.chosen.name if self.chosen else "", "plain question")
        return {
            name: [(each.share, each.worth) for each in side]
            for name, side in zip(names, sides, strict=True)
        }


def cuts_of(found: Fit, rubric: Rubric) -> dict[str, float]:
    """Where an answer becomes right, in the scores that the judge gives, by language."""
    if found.chosen is None or found.scale is None:
        return {}
    curves, at = found.scale.curves, found.scale.right_share
    langs = sorted({row.request.lang for half in found.halves for row in half})
    places = {lang: curves.get(lang, curves[ANY]).where(at) for lang in langs}
    reading = found.chosen.reading
    return {lang: score_at(place, rubric, reading) for lang, place in places.items()}


def profile_of_fit(found: Fit, rubric: Rubric) -> Profile:
    assert found.chosen
    assert found.scale
    low, high = found.ends
    model, weights = model_of(found.judge)
    said = {
        row: verdict
        for row, verdict in zip(found.halves[1], found.verdicts, strict=True)
        if isinstance(verdict, Scored)
    }
    reading = found.chosen.reading
    kept = [
        Kept(request=row.request, raw=raw_score(said[row], rubric, reading))
        for row in sample(list(said), KEPT, seed=0)
    ]
    return Profile(
        made=date.today(),
        model=model,
        weights=weights,
        fingerprint=found.fingerprint,
        rubric=rubric.sha,
        template=rubric.template_sha,
        way=way_of(found.chosen.config),
        reading=reading,
        low=low,
        high=high,
        right_from=low + (high - low) * found.scale.right_share,
        cuts=cuts_of(found, rubric),
        curves=found.scale.curves,
        figures=figures_of(found),
        rows=tuple(kept),
    )


def figures_of(found: Fit) -> dict[str, dict[str, float]]:
    """What is known of it; what is not is left out."""
    assert found.costs
    named = {
        which: asdict(value)
        for name, figure in found.figures.items()
        for which, value in (
            (name, figure.ours),
            (f"{name}_of_plain", figure.plain),
            (f"{name}_difference", figure.gap),
        )
    }
    if found.chosen and (share := found.choice.fooled.get(found.chosen.name)):
        named["attacks_believed"] = asdict(share)
    named |= {"cost": asdict(found.costs[0]), "cost_of_plain": asdict(found.costs[1])}
    return {
        name: {key: value for key, value in figure.items() if value is not None}
        for name, figure in named.items()
    }
