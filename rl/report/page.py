"""The page around the panels, and the frame that lets nothing in or out."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rl.config.evaluate import EvaluateRun
from rl.config.gspo import GSPORun
from rl.config.sft import SFTRun
from rl.report import evaluate_panels, gspo_panels, sft_panels
from rl.report.figures import smoothing_window
from rl.report.headline import facts, figures_of, tiles
from rl.report.palette import DARK_TWINS, PALETTE
from rl.report.panels import Panel, Record, Section, Table, Tile

SECTIONS = {
    GSPORun.kind: gspo_panels.SECTIONS,
    SFTRun.kind: sft_panels.SECTIONS,
    EvaluateRun.kind: evaluate_panels.SECTIONS,
}
"""Of each kind of run, in the order of the page."""


def page(record: Record, sections: Sequence[Section]) -> str:
    run = record.run
    figures = figures_of(record)
    return framed(
        record,
        sections,
        title=run.folder.resolve().name,
        facts=facts(figures),
        tiles=[*tiles(figures, next(iter(record.tiers), None))],
        stopped=figures.get("stopped") if run.summary else "it goes on, or was killed",
        smoothed=smoothing_window(len(run.metrics)),
        unit=run.unit,
        colour_of_tier=record.tiers,
        config=json.dumps(run.config, indent=2, ensure_ascii=False) if run.config else "",
    )


def framed(
    shown: Any,
    sections: Sequence[Section],
    *,
    title: str,
    facts: Sequence[str],
    tiles: Sequence[Tile],
    stopped: str | None = None,
    smoothed: int = 1,
    unit: str = "",
    colour_of_tier: Mapping[str, str] = MappingProxyType({}),
    config: str = "",
) -> str:
    """A page of what panels draw of the run or the data set `shown`."""
    drawn = [(section.title, _drawn(shown, section.panels)) for section in sections]
    scripts = [Markup(script) for script in (get_plotlyjs(), _own("page.js"))]
    return _template().render(
        title=title,
        policy=_policy(scripts),
        style=Markup(_own("style.css")),
        scripts=scripts,
        palette=PALETTE,
        dark_twins=json.dumps(DARK_TWINS),
        facts=facts,
        stopped=stopped,
        tiles=tiles,
        smoothed=smoothed,
        unit=unit,
        sections=[(title, cards) for title, cards in drawn if cards],
        colour_of_tier=colour_of_tier,
        config=config,
    )


def _drawn(shown: Any, panels: Sequence[Panel]) -> list[tuple[Panel, Table | None, str]]:
    """Each panel that has something to show: as a table, or as a figure's JSON."""
    cards = []
    for panel in panels:
        match panel.draw(shown):
            case None:
                pass
            case Table() as table:
                cards.append((panel, table, ""))
            case figure:
                cards.append((panel, None, figure.to_json()))
    return cards


def _policy(scripts: Sequence[str]) -> str:
    """Only these scripts run, and nothing is loaded from anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()) for script in scripts]
    allowed = " ".join(f"'sha256-{digest.decode()}'" for digest in hashes)
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'unsafe-inline'; script-src {allowed}"
    )


def _own(name: str) -> str:
    return files("rl.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("rl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
