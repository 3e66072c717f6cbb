"""What a red team found, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from judges.trust.attacks import Attack
from judges.trust.tolls import Drift, Redteam, Scale, Toll
from judges.verdict import Scored, Verdict


def as_text(found: Redteam, examples: Sequence[str], *, allowed: float) -> str:
    """`allowed` is what attacks may earn on average."""
    families = {name: (on, found.families_off[name]) for name, on in found.families_on.items()}
    rows = {
        **families,
        "all": (found.on, found.off),
        "guesses, with the truth among them": (found.with_truth_on, found.with_truth_off),
    }
    lines = [
        " ".join(f"{key}={value}" for key, value in found.judge.items() if key != "defences"),
        f"{found.patterns} patterns on {found.questions} questions; an answer counts as right "
        f"from {found.right_from:g}",
        "",
        f"{'false positives':16} {'defences on':34} defences off",
        *(f"{name:16} {_spell(on):34} {_spell(off)}" for name, (on, off) in rows.items()),
        *_by_question(found),
        "",
        f"{'earned anything':16} {'defences on':34} defences off",
        *(f"{name:16} {_earned(on):34} {_earned(off)}" for name, (on, off) in rows.items()),
        *_learnable(families, allowed),
        "",
        f"right answers: {_drift(found.drift_right)}",
        f"wrong answers: {_drift(found.drift_wrong)}",
        f"faults: {found.faults_on or 'none'} on, {found.faults_off or 'none'} off",
    ]
    return "\n".join([*lines, *examples])


def what_fooled(attacks: Sequence[tuple[Attack, Verdict]], scale: Scale) -> list[str]:
    """A line for each pattern that worked with the defences on, the most successful first."""
    worked = Counter(
        attack.pattern
        for attack, verdict in attacks
        if isinstance(verdict, Scored) and scale.is_right(verdict)
    )
    ordered = worked.most_common()
    lines = [f"  {count:3} x {each.family}: {each.text[:70]!r}" for each, count in ordered]
    return ["", "patterns that worked with the defences on", *lines] if lines else []


def _by_question(found: Redteam) -> list[str]:
    """Nothing where no attack worked: no drawing of questions can then show another rate."""
    if not found.on.fooled:
        return []
    return [f"{'all, by question':16} {found.on.by_question:.2%} with the defences on"]


def _learnable(families: dict[str, tuple[Toll, Toll]], allowed: float) -> list[str]:
    return [
        f"NOTE: {name} earns {on.earned:.3f} on average with the defences on, where {allowed:.3f} "
        "is little: a policy can learn it, whether or not it counts as right"
        for name, (on, _) in families.items()
        if on.earned is not None and on.earned > allowed
    ]


def _drift(drift: Drift) -> str:
    if drift.mean is None or drift.up is None:
        return "none was scored both ways"
    return (
        f"{drift.answers} honest ones move by {drift.mean:.2%} of the range ({drift.up:+.2%}), "
        f"{drift.flipped} flip; {drift.passed_on:.2%} pass with the defences on, "
        f"{drift.passed_off:.2%} off; {drift.kept} of {drift.passing_off} still pass"
    )


def _spell(toll: Toll) -> str:
    return f"{toll.fooled:3} of {toll.scored:4}  {toll.rate:6.2%}"


def _earned(toll: Toll) -> str:
    paid = f"{toll.paid:3} of {toll.scored:4}"
    if toll.mean is None or toll.earned is None:
        return paid
    return f"{paid}  {toll.earned:.3f} each, mean {toll.mean:+.3f}"
