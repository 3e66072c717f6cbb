"""Ways of asking under attack: the cheapest that agrees may be the one that believes anyone."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from judges.commands.in_turn import judge_all
from judges.config import JudgeConfig
from judges.fit.arm import Scale
from judges.fit.ways import Tried, as_read, choose, said_of
from judges.rubric.rubric import Rubric
from judges.trust.agreement import Estimate, wilson
from judges.trust.attacks import cross, load_patterns
from judges.trust.labelled import Labelled
from judges.trust.redteam import questions_of
from judges.verdict import Verdict

QUESTIONS = 6
"""In each language, from which wrong answers are drawn too."""
TOO_MANY = 0.01
"""The share of attacks that may count as right. A way is out where it surely has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The way that was chosen, what its scores are worth, and how ways fared under attack."""

    way: Tried | None = None
    scale: Scale | None = None
    fooled: Mapping[str, Estimate] = field(default_factory=dict[str, Estimate])
    """The share of attacks that counted as right, by the name of the way."""

    @property
    def believes(self) -> Estimate | None:
        """The share, where the chosen way surely believes too many."""
        share = self.fooled.get(self.way.name) if self.way else None
        return share if share and not withstands(share) else None


def withstands(share: Estimate) -> bool:
    return share.low is None or share.low <= TOO_MANY


def drawn(rows: Sequence[Labelled], rubric: Rubric, count: int, seed: int) -> list[Labelled]:
    """So many attacks on questions of these rows: wrong answers, all of them."""
    if not count:
        return []
    questions = questions_of(rows, QUESTIONS, seed)
    patterns = [pattern for pattern in load_patterns() if not pattern.holds_truth]
    attacks = cross(questions, patterns, rubric, seed=seed)
    kept = set(random.Random(seed).sample(range(len(attacks)), min(count, len(attacks))))
    return [
        Labelled(request=attack.request, right=False, tier=None)
        for place, attack in enumerate(attacks)
        if place in kept
    ]


async def chosen_under_attack(
    tried: Sequence[Tried],
    attacks: Sequence[Labelled],
    scale_of: Callable[[Tried], Scale | None],
    rubric: Rubric,
    *,
    seed: int,
) -> Choice:
    """The best choice that withstands them; where none does, the first, and it shows."""
    said: dict[JudgeConfig, Sequence[Verdict]] = {}
    fooled: dict[str, Estimate] = {}
    first = Choice()
    left = list(tried)
    while (way := choose(left, seed=seed)) is not None:
        scale = scale_of(way)
        choice = Choice(way=way, scale=scale, fooled=fooled)
        if scale is None or not attacks:
            return choice
        if way.config not in said:
            said[way.config], _ = await judge_all(way.config, [each.request for each in attacks])
        seen = [
            scale.seen(each, lambda _: 0.0)
            for each in said_of(attacks, said[way.config], as_read(way.reading, rubric))
        ]
        judged = [each.passes for each in seen if each]
        fooled[way.name] = wilson(sum(judged), len(judged))
        if withstands(fooled[way.name]):
            return choice
        first = first if first.way else choice
        left = [each for each in left if each is not way]
    return first
