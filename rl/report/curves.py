"""The report's curves: which metrics share a chart, and how to read it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rl.report.charts import Line, line_chart, share_bar, stack_chart
from rl.report.markup import Markup, el, join
from rl.runlog import Run, column
from rl.summary import mean_reward, tier_shares

Colours = Mapping[str, str]

BLUE, ORANGE, GREEN, PURPLE, RED, TEAL = (
    f"var(--{name})" for name in ("blue", "orange", "green", "purple", "red", "teal")
)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One chart. `include` are values its scale must show; `stacked` piles the metrics up."""

    title: str
    how_to_read: str
    colours: Mapping[str, str]  # of each metric
    form: str = "{:.2f}"
    include: Sequence[float] = (0.0,)
    stacked: bool = False


UPDATE = (
    Plot(
        title="KL",
        how_to_read="How far the policy is from the reference, from the weights that sampled, "
        "and how far sampler and trainer disagree on the same weights.",
        colours={"kl/ref": BLUE, "kl/old": ORANGE, "kl/sampler": PURPLE},
        form="{:.3f}",
    ),
    Plot(
        title="Clipped",
        how_to_read="Share of sequences (and tokens) whose ratio left the trust region.",
        colours={"clip/seq": BLUE, "clip/low": ORANGE, "clip/high": TEAL, "clip/token": PURPLE},
        form="{:.0%}",
    ),
    Plot(
        title="Entropy",
        how_to_read="How undecided the policy is, a token. A fall to nothing is collapse.",
        colours={"entropy": BLUE},
    ),
    Plot(
        title="Effective sample",
        how_to_read="What the importance weights leave of the completions, as a share.",
        colours={"ess": BLUE},
        include=(0.0, 1.0),
    ),
    Plot(
        title="Gradient norm",
        how_to_read="Before it is clipped.",
        colours={"grad_norm": BLUE},
    ),
)
COMPLETIONS = (
    Plot(
        title="Length",
        how_to_read="Tokens a completion, reasoning included.",
        colours={"length/mean": BLUE, "length/max": ORANGE},
        form="{:.0f}",
    ),
    Plot(
        title="Nothing to learn from",
        how_to_read="Groups whose answers all earned the same, and completions without a vote.",
        colours={"groups/zero_spread": BLUE, "rows/dead": ORANGE},
        form="{:g}",
    ),
)
JUDGE_AND_CLOCK = (
    Plot(
        title="Judge latency",
        how_to_read="Seconds until a verdict: the median and the slowest twentieth.",
        colours={"judge/p50_s": BLUE, "judge/p95_s": ORANGE},
    ),
    Plot(
        title="Judge faults",
        how_to_read="Verdicts that never came. They have no vote.",
        colours={"judge/faults": RED},
        form="{:.0f}",
        include=(0.0, 4.0),
    ),
    Plot(
        title="Sampling speed",
        how_to_read="Completion tokens a second.",
        colours={"rollout/tokens_per_s": GREEN},
        form="{:.0f}",
    ),
    Plot(
        title="Where the time goes",
        how_to_read="Seconds a generation.",
        colours={"time/rollout_s": BLUE, "time/judge_wait_s": ORANGE, "time/update_s": PURPLE},
        form="{:.1f}",
        stacked=True,
    ),
)


def curve_sections(run: Run, tier_colours: Colours) -> list[Markup | None]:
    """Sections of charts. A metric that no row has is left out, and so is an empty chart."""
    kl, *rest = (_chart(run, plot) for plot in UPDATE)
    return [
        _section("What the judge said", [_reward(run), _tiers(run, tier_colours)]),
        _section("The update", [kl, _ratios(run), *rest]),
        _section("The completions", [_chart(run, plot) for plot in COMPLETIONS]),
        _section("The judge and the clock", [_chart(run, plot) for plot in JUDGE_AND_CLOCK]),
    ]


def _section(title: str, cards: Sequence[Markup | None]) -> Markup | None:
    shown = [card for card in cards if card]
    return join([el("h2", title), el("div", *shown, class_="grid")]) if shown else None


def _card(title: str, how_to_read: str, *content: Markup | None) -> Markup:
    return el("div", el("h3", title), el("p", how_to_read, class_="soft"), *content, class_="card")


def _chart(run: Run, plot: Plot) -> Markup | None:
    series = _measured(run, plot.colours)
    if not series:
        return None
    generations = column(run.metrics, "generation")
    if plot.stacked:
        chart = stack_chart(generations, series, label=plot.title, form=plot.form)
    else:
        chart = line_chart(
            generations, series, label=plot.title, form=plot.form, include=plot.include
        )
    return _card(plot.title, plot.how_to_read, chart)


def _measured(run: Run, colours: Colours) -> list[Line]:
    return [
        Line(name=key, values=column(run.metrics, key), colour=colour)
        for key, colour in colours.items()
        if any(key in row for row in run.metrics)
    ]


def _reward(run: Run) -> Markup | None:
    if not any("reward/mean" in row for row in run.metrics):
        return None
    generations = column(run.metrics, "generation")
    mean, std = column(run.metrics, "reward/mean"), column(run.metrics, "reward/std")
    edges = [(m - s, m + s) for m, s in zip(mean, std, strict=True)]
    band = ([low for low, _ in edges], [high for _, high in edges])
    series = [Line(name="mean ± standard deviation", values=mean, colour=BLUE, band=band)]
    before, after = mean_reward(run.heldout_before), mean_reward(run.heldout_after)
    points = [(0.0, before), (generations[-1], after)]
    if heldout := [(x, reward) for x, reward in points if reward is not None]:
        xs, rewards = [x for x, _ in heldout], [reward for _, reward in heldout]
        series.append(Line(name="held-out questions", values=rewards, x=xs, colour=ORANGE))
    chart = line_chart(generations, series, label="Reward", form="{:+.2f}", height=330)
    return _card("Reward", "What the completions of each generation earned.", chart)


def _tiers(run: Run, colours: Colours) -> Markup | None:
    bars = _heldout_bars(run, colours)
    layers = [
        replace(
            line,
            name=line.name.removeprefix("tier/"),
            values=[0.0 if math.isnan(share) else share for share in line.values],
        )
        for line in _measured(run, {f"tier/{tier}": colour for tier, colour in colours.items()})
    ]
    how_to_read = "Share of completions by verdict, the best at the bottom."
    if layers:
        generations = column(run.metrics, "generation")
        chart = stack_chart(generations, layers, label="Share of completions by tier")
        return _card("Tiers", how_to_read, chart, bars)
    return _card("Tiers", "Share of held-out answers by verdict.", bars) if bars else None


def _heldout_bars(run: Run, colours: Colours) -> Markup | None:
    bars: list[Markup] = []
    for moment, rows in (("before", run.heldout_before), ("after", run.heldout_after)):
        if rows:
            shares = tier_shares(rows)
            parts = [(tier, shares.get(tier, 0.0), colour) for tier, colour in colours.items()]
            bars += [el("span", f"held-out {moment}"), share_bar(parts)]
    return el("div", *bars, class_="bars") if bars else None


def _ratios(run: Run) -> Markup | None:
    keys = ("ratio/mean", "ratio/min", "ratio/max")
    if not any("ratio/mean" in row for row in run.metrics):
        return None
    mean, low, high = (column(run.metrics, key) for key in keys)
    line = Line(name="mean, within min and max", values=mean, colour=BLUE, band=(low, high))
    chart = line_chart(
        column(run.metrics, "generation"),
        [line],
        label="Sequence ratio",
        form="{:.4f}",
        include=(1.0,),
    )
    return _card(
        "Sequence ratio",
        "New probability of a completion over its old one, averaged over its tokens. "
        "1 is no change since it was sampled.",
        chart,
    )
