"""The colours of every figure and of the page around it, each with its twin on a dark screen.

Figures carry the light ones, so that they can be shown anywhere. The page puts the twins in.
"""

from collections.abc import Iterable, Mapping

from rl.report.digest import GATES

PALETTE = {
    "page": ("#f6f6f3", "#131518"),
    "card": ("#ffffff", "#1b1e23"),
    "ink": ("#1c1f24", "#e8e9ea"),
    "soft": ("#646a73", "#9aa1ab"),
    "rule": ("#e5e5df", "#2d3138"),
    "shade": ("#f0f0ec", "#24282e"),
    "blue": ("#2f6bd8", "#6b9df5"),
    "orange": ("#d9762b", "#ee9a56"),
    "green": ("#2a9d6f", "#43bd8b"),
    "purple": ("#8457c2", "#ac86e6"),
    "red": ("#c8423b", "#ea6f67"),
    "teal": ("#1a8f9e", "#45bac9"),
    "tier-0": ("#c2413a", "#d1544c"),
    "tier-1": ("#e58f45", "#dd8b47"),
    "tier-2": ("#c3bfae", "#77766b"),
    "tier-3": ("#86c7a8", "#5f9f80"),
    "tier-4": ("#1f9467", "#2fae7d"),
    "gate-0": ("#8678b5", "#7a6cac"),
    "gate-1": ("#aba0d1", "#5f5490"),
    "gate-2": ("#cdc6e6", "#4a4270"),
    "fault": ("#50555e", "#8b919b"),
}
COLOUR = {name: light for name, (light, _) in PALETTE.items()}
FAINT, PALE = "2b", "66"  # opacities, appended to a colour: of a band, of a curve behind another
DARK_TWINS = {
    light + opacity: dark + opacity
    for light, dark in PALETTE.values()
    for opacity in ("", FAINT, PALE)
}


def tier_colours(tiers: Iterable[str], score_of_tier: Mapping[str, float]) -> dict[str, str]:
    """A colour's name for each, best tier first.

    From green to red by score; gates in purples; judge faults grey, last.
    """
    known = dict.fromkeys([*tiers, *score_of_tier])
    scored = [tier for tier in known if tier not in GATES and tier != "fault"]
    scored.sort(key=lambda tier: -score_of_tier.get(tier, 0.0))
    names = {
        tier: f"tier-{round(4 - 4 * place / max(len(scored) - 1, 1))}"
        for place, tier in enumerate(scored)
    }
    gates = [gate for gate in GATES if gate in known]
    names |= {gate: f"gate-{place % 3}" for place, gate in enumerate(gates)}
    return names | ({"fault": "fault"} if "fault" in known else {})
