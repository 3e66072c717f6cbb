"""The few figures at the head of the page: what the run came to."""

from collections.abc import Iterator, Mapping
from typing import Any

from rl.report.panels import Record, Tile
from rl.run.progress import duration
from rl.run.summary import summarise

Figures = Mapping[str, Any]


def figures_of(record: Record) -> Figures:
    run = record.run
    return summarise(run.metrics, run.heldout_before, run.heldout_after) | run.summary


def facts(figures: Figures) -> list[str]:
    said = [
        f"generations {figures['generations']}" if "generations" in figures else None,
        f"optimizer steps {figures['steps']}" if "steps" in figures else None,
        duration(figures["seconds"]) if "seconds" in figures else None,
        f"judge ${figures['judge_usd']:,.2f}" if figures.get("judge_usd") else None,
    ]
    return [fact for fact in said if fact]


def tiles(figures: Figures, best_tier: str | None) -> Iterator[Tile]:
    interval = figures.get("heldout_change_95")
    between = f"95 % interval {interval[0]:+.2f} to {interval[1]:+.2f}" if interval else ""
    few = figures.get("reward_window", 1)
    window = f"means of the first and last {few} generations" if few > 1 else "first and last"
    yield from _change("Held-out reward", figures, "heldout_before", "heldout_after", between)
    yield from _change("Training reward", figures, "reward_first", "reward_last", window)
    yield from _losses("Held-out loss", figures, "heldout_loss_before", "heldout_loss_after")
    yield from _losses("Training loss", figures, "loss_first", "loss_last")
    yield from _answers(figures)
    before, after = figures.get("heldout_tiers_before"), figures.get("heldout_tiers_after")
    if before and after and best_tier:
        yield Tile(
            f"Held-out answers judged “{best_tier}”",
            f"{after.get(best_tier, 0.0):.0%}",
            "the best tier, before and after",
            was=f"{before.get(best_tier, 0.0):.0%}",
        )
    if "judge_faults" in figures:
        asked = figures.get("judge_verdicts")
        whole = f"of {asked:,} verdicts; " if asked is not None else ""
        yield Tile("Judge faults", f"{figures['judge_faults']:,}", f"{whole}left out, never scored")


def _losses(name: str, figures: Figures, before: str, after: str) -> Iterator[Tile]:
    if before in figures and after in figures:
        was, now = figures[before], figures[after]
        direction = "up" if now < was else "down"  # as what is better is shown
        note = "a token, before and after"
        yield Tile(name, f"{now:.3f}", note, f"{was:.3f}", f"{now - was:+.3f}", direction)


def _answers(figures: Figures) -> Iterator[Tile]:
    was, now = figures.get("answers_before", {}), figures.get("answers_after", {})
    names = {"ended_sampled": "Sampled answers that end", "in_format_greedy": "In the format"}
    for mark, name in names.items():
        if mark in was and mark in now:
            yield Tile(name, f"{now[mark]:.0%}", "before and after", was=f"{was[mark]:.0%}")


def _change(name: str, figures: Figures, before: str, after: str, note: str) -> Iterator[Tile]:
    if before in figures and after in figures:
        change = figures[after] - figures[before]
        yield Tile(
            name,
            f"{figures[after]:+.2f}",
            note,
            was=f"{figures[before]:+.2f}",
            change=f"{change:+.2f}",
            direction="up" if change >= 0.005 else "down" if change <= -0.005 else "",
        )
    elif before in figures:
        yield Tile(name, f"{figures[before]:+.2f}", "before training")
    elif after in figures:
        yield Tile(name, f"{figures[after]:+.2f}", "after training")
