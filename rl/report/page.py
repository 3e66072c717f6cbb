"""The page: headline, sections, and the frame that lets nothing in or out."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.progress import duration
from rl.report.cases import best_and_worst, heldout_examples
from rl.report.curves import curve_sections
from rl.report.digest import digest, tier_colours
from rl.report.look import SCRIPT, STYLE
from rl.report.markup import Markup, el, join
from rl.runlog import Run, read_run
from rl.summary import summarise

Figures = Mapping[str, Any]


def write_report(folder: Path) -> Path:
    """Build `folder/report.html` from what the run left there, finished or not."""
    path = folder / "report.html"
    part = path.with_suffix(".part")
    part.write_text(page(read_run(folder)), encoding="utf-8")
    os.replace(part, path)
    return path


def page(run: Run) -> str:
    heldout = (*run.heldout_before, *run.heldout_after)
    completions = digest(run.rollouts(), heldout)
    figures = summarise(run.metrics, run.heldout_before, run.heldout_after) | run.summary
    tiers = [key[5:] for row in run.metrics for key in row if key.startswith("tier/")]
    tiers += [str(row["tier"]) for row in heldout]
    colours = tier_colours(tiers, completions.score_of_tier)
    return _document(
        run.folder.resolve().name,
        [
            _heading(run, figures),
            _tiles(figures, list(colours)),
            *curve_sections(run, colours),
            best_and_worst(completions, colours),
            heldout_examples(run, colours),
            _config(run.config),
        ],
    )


def _document(title: str, sections: list[Markup]) -> str:
    script_hash = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{script_hash}'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", Markup(STYLE)),
    )
    tip = el("div", id="tip", hidden="hidden")
    body = el("body", el("main", *sections), tip, el("script", Markup(SCRIPT)))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _heading(run: Run, figures: Figures) -> Markup:
    facts = [
        f"generations {figures['generations']}" if "generations" in figures else None,
        f"optimizer steps {figures['steps']}" if "steps" in figures else None,
        duration(figures["seconds"]) if "seconds" in figures else None,
    ]
    stopped = figures.get("stopped")
    if not run.summary:
        stopped = "it goes on, or was killed"
    return join(
        [
            el("h1", run.folder.resolve().name),
            el("p", " · ".join(fact for fact in facts if fact), class_="soft"),
            el("p", f"Not finished: {stopped}.", class_="notice") if stopped else None,
        ]
    )


def _tiles(figures: Figures, tiers_best_first: list[str]) -> Markup:
    interval = figures.get("heldout_change_95")
    between = f"95 % interval {interval[0]:+.2f} to {interval[1]:+.2f}" if interval else ""
    tiles = [
        _change_tile("Held-out reward", figures, "heldout_before", "heldout_after", between),
        _change_tile(
            "Training reward",
            figures,
            "reward_first",
            "reward_last",
            f"means of the first and last {figures.get('reward_window')} generations",
        ),
        _best_tier_tile(figures, tiers_best_first),
    ]
    if "judge_faults" in figures:
        asked = figures.get("judge_verdicts")
        whole = f"of {asked:,} verdicts; " if asked is not None else ""
        figure = f"{figures['judge_faults']:,}"
        tiles.append(_tile("Judge faults", figure, whole + "left out, never scored"))
    return el("div", *tiles, class_="tiles")


def _change_tile(name: str, figures: Figures, before: str, after: str, note: str) -> Markup | None:
    if before not in figures and after not in figures:
        return None
    if after not in figures:
        return _tile(name, f"{figures[before]:+.2f}", "before training")
    if before not in figures:
        return _tile(name, f"{figures[after]:+.2f}", "after training")
    change = figures[after] - figures[before]
    direction = "up" if change >= 0.005 else "down" if change <= -0.005 else None
    figure = join(
        [
            el("small", f"{figures[before]:+.2f} → "),
            f"{figures[after]:+.2f} ",
            el("small", f"{change:+.2f}", class_=direction),
        ]
    )
    return _tile(name, figure, note)


def _best_tier_tile(figures: Figures, tiers_best_first: list[str]) -> Markup | None:
    before, after = figures.get("heldout_tiers_before"), figures.get("heldout_tiers_after")
    if not before or not after or not tiers_best_first:
        return None
    best = tiers_best_first[0]
    was, now = before.get(best, 0.0), after.get(best, 0.0)
    figure = join([el("small", f"{was:.0%} → "), f"{now:.0%}"])
    return _tile(f"Held-out answers judged “{best}”", figure, "the best tier, before and after")


def _tile(name: str, figure: object, note: str) -> Markup:
    return el(
        "div",
        el("p", name, class_="soft"),
        el("div", figure, class_="figure"),
        el("p", note, class_="soft"),
        class_="card tile",
    )


def _config(config: Mapping[str, Any]) -> Markup | None:
    if not config:
        return None
    text = json.dumps(config, indent=2, ensure_ascii=False)
    shown = el("details", el("summary", "config.json, as resolved"), el("pre", text))
    return join([el("h2", "Settings"), el("div", shown, class_="card")])
