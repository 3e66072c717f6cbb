"""What GSPO's runs show: rewards and tiers, the update, the completions, judge and clock."""

from dataclasses import replace

import plotly.graph_objects as go

from rl.gspo.ratio_bins import RATIO_BINS
from rl.report.cases import best, most_improved, most_worsened, worst
from rl.report.curves import curves, measured, piled_up
from rl.report.figures import Line, heat_chart, line_chart, share_chart, stack_chart
from rl.report.panels import Panel, Record, Section
from rl.run.folder import column
from rl.run.summary import mean_reward, tier_shares


def reward(record: Record) -> go.Figure | None:
    run = record.run
    if not any("reward/mean" in row for row in run.metrics):
        return None
    generations = run.counted()
    mean, std = column(run.metrics, "reward/mean"), column(run.metrics, "reward/std")
    edges = [(m - s, m + s) for m, s in zip(mean, std, strict=True)]
    band = ([low for low, _ in edges], [high for _, high in edges])
    lines = [Line(name="mean ± standard deviation", values=mean, colour="blue", band=band)]
    before, after = mean_reward(run.heldout_before), mean_reward(run.heldout_after)
    on_the_way = [(row["generation"], row.get("heldout/reward")) for row in run.metrics]
    points = [(0.0, before), *on_the_way, (generations[-1], after)]
    if heldout := [(x, figure) for x, figure in points if figure is not None]:
        xs, figures = [x for x, _ in heldout], [figure for _, figure in heldout]
        lines.append(Line(name="held-out questions", values=figures, x=xs, colour="orange"))
    if published := record.run.config.get("published", {}).get("reward"):
        low, high = ([edge] * len(generations) for edge in published)
        name = f"published, from {published[0]:+.2f} to"
        lines.append(Line(name=name, values=high, colour="green", band=(low, high)))
    return line_chart(generations, lines, form="+.2f", height_px=360)


def kl(record: Record) -> go.Figure | None:
    colours = {"kl/ref": "blue", "kl/old": "orange", "kl/sampler": "purple"}
    lines = measured(record, colours)
    if not lines:
        return None
    generations = record.run.counted()
    published = record.run.config.get("published", {}).get("kl")
    if published is not None:
        flat = [published] * len(generations)
        lines.append(Line(name="kl/ref, published at its end", values=flat, colour="green"))
    return line_chart(generations, lines, form=".2g", include=(0.0,), log_if_wide=True)


def tiers(record: Record) -> go.Figure | None:
    shares = {f"tier/{tier}": colour for tier, colour in record.tiers.items()}
    generations = record.run.counted()
    layers = [
        replace(line, name=line.name.removeprefix("tier/")) for line in measured(record, shares)
    ]
    return stack_chart(generations, layers) if layers else None


def heldout_tiers(record: Record) -> go.Figure | None:
    moments = {"before": record.run.heldout_before, "after": record.run.heldout_after}
    bars = {moment: tier_shares(rows) for moment, rows in moments.items() if rows}
    reached = {tier for shares in bars.values() for tier in shares}
    colours = {tier: colour for tier, colour in record.tiers.items() if tier in reached}
    return share_chart(bars, colours) if bars else None


def ratios(record: Record) -> go.Figure | None:
    metrics = record.run.metrics
    if not any("ratio/mean" in row for row in metrics):
        return None
    mean, low, high = (column(metrics, f"ratio/{name}") for name in ("mean", "min", "max"))
    line = Line(name="mean, within min and max", values=mean, colour="blue", band=(low, high))
    return line_chart(record.run.counted(), [line], form=".4f", include=(1.0,))


def ratio_bins(record: Record) -> go.Figure | None:
    counted = [row for row in record.run.metrics if "ratio/histogram" in row]
    if not counted:
        return None
    shares = [
        [count / sum(row["ratio/histogram"]) for count in row["ratio/histogram"]] for row in counted
    ]
    unit = record.run.unit
    return heat_chart([row[unit] for row in counted], shares, RATIO_BINS, unit=unit)


WHAT_THE_JUDGE_SAID = Section(
    "What the judge said",
    (
        Panel("Reward", "What the completions of each generation earned.", reward, True),
        Panel("Tiers", "Share of completions by verdict, the best at the bottom.", tiers),
        Panel(
            "Held-out tiers",
            "Share of the held-out answers by verdict, before and after training.",
            heldout_tiers,
        ),
    ),
)
UPDATE = Section(
    "The update",
    (
        Panel(
            "KL",
            "How far the policy is from the reference, from the weights that sampled, "
            "and how far sampler and trainer disagree on the same weights.",
            kl,
        ),
        Panel(
            "Sequence ratio",
            "New probability of a completion over its old one, averaged over its tokens. "
            "1 is no change since it was sampled.",
            ratios,
        ),
        Panel(
            "Ratios by size",
            "Which share of the sequence ratios lay how far from 1: the darker, the more. "
            "The paper's window is 3e-4 below 1 and 4e-4 above it.",
            ratio_bins,
        ),
        Panel(
            "Clipped",
            "Share of sequences (and tokens) whose ratio left the trust region.",
            curves(
                {
                    "clip/seq": "blue",
                    "clip/low": "orange",
                    "clip/high": "teal",
                    "clip/token": "purple",
                },
                form=".0%",
            ),
        ),
        Panel(
            "Entropy",
            "How undecided the policy is, a token. A fall to nothing is collapse.",
            curves({"entropy": "blue"}),
        ),
        Panel(
            "Effective sample",
            "What the importance weights leave of the completions, as a share.",
            curves({"ess": "blue"}, form=".0%", include=(0.0, 1.0)),
        ),
        Panel("Gradient norm", "Before it is clipped.", curves({"grad_norm": "blue"})),
    ),
)
COMPLETIONS = Section(
    "The completions",
    (
        Panel(
            "Length",
            "Tokens a completion, reasoning included.",
            curves({"length/mean": "blue", "length/max": "orange"}, form=".0f"),
        ),
        Panel(
            "Nothing to learn from",
            "Groups whose answers all earned the same, and completions without a vote.",
            curves(
                {
                    "groups/zero_spread": "blue",
                    "groups/below_spread": "teal",
                    "rows/dead": "orange",
                },
                form=".0f",
            ),
        ),
    ),
)
JUDGE_AND_CLOCK = Section(
    "The judge and the clock",
    (
        Panel(
            "Judge latency",
            "Seconds until a verdict: the median and the slowest twentieth.",
            curves({"judge/p50_s": "blue", "judge/p95_s": "orange"}, log_if_wide=True),
        ),
        Panel(
            "Judge faults",
            "Verdicts that never came have no vote; attempts that failed; calls tried again.",
            curves(
                {"judge/faults": "red", "judge/troubles": "purple", "judge/retries": "orange"},
                form=".0f",
                include=(0.0, 4.0),
            ),
        ),
        Panel(
            "Judge's limit",
            "How many requests are let out at once. It falls where the judge strains.",
            curves({"judge/limit": "teal"}, form=".0f"),
        ),
        Panel(
            "Judges at odds",
            "Questions on which the members of a panel of judges named different tiers.",
            curves({"judge/disagreements": "purple"}, form=".0f", unless_zero=True),
        ),
        Panel(
            "Judge cost",
            "Dollars since the run began.",
            curves({"judge/usd": "green"}, form=".4f", unless_zero=True),
        ),
        Panel(
            "Sampling speed",
            "Completion tokens a second.",
            curves({"rollout/tokens_per_s": "green"}, form=".0f"),
        ),
        Panel(
            "Where the time goes",
            "Seconds a generation.",
            piled_up(
                {
                    "time/rollout_s": "blue",
                    "time/judge_wait_s": "orange",
                    "time/update_s": "purple",
                },
                form=".1f",
            ),
        ),
    ),
)
READ_SOME = Section(
    "Answers to read",
    (
        Panel("Best", "The best-paid answers, one a question, the latest first.", best, True),
        Panel("Worst", "The worst-paid ones. Do you agree with the judge?", worst, True),
        Panel(
            "Most improved",
            "Held-out questions whose reward rose most from before training to after it.",
            most_improved,
            True,
        ),
        Panel("Most worsened", "Those whose reward fell most.", most_worsened, True),
    ),
)
SECTIONS = (WHAT_THE_JUDGE_SAID, UPDATE, COMPLETIONS, JUDGE_AND_CLOCK, READ_SOME)
