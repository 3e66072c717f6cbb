"""What a run came to, from its rows: the figures of summary.json."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Rows = Sequence[Mapping[str, Any]]

WINDOW = 5  # generations or steps at either end, where there are twice as many


def summarise(metrics: Rows, heldout_before: Rows = (), heldout_after: Rows = ()) -> dict[str, Any]:
    """Only what can be told from the rows: a figure that was not measured is absent."""
    rewards = [row["reward/mean"] for row in metrics if "reward/mean" in row]
    window = min(WINDOW, len(rewards) // 2)
    losses = [row["loss"] for row in metrics if "loss" in row]
    few = min(WINDOW, len(losses) // 2)
    heldout_losses = [row["heldout/loss"] for row in metrics if "heldout/loss" in row]
    last = metrics[-1] if metrics else {}
    summary = {
        "loss_first": fmean(losses[:few]) if few else None,
        "loss_last": fmean(losses[-few:]) if few else None,
        "heldout_loss_before": heldout_losses[0] if heldout_losses else None,
        "heldout_loss_after": heldout_losses[-1] if len(heldout_losses) > 1 else None,
        "answers_before": answer_shares(heldout_before) or None,
        "answers_after": answer_shares(heldout_after) or None,
        "reward_first": fmean(rewards[:window]) if window else None,
        "reward_last": fmean(rewards[-window:]) if window else None,
        "reward_window": window or None,
        "heldout_before": mean_reward(heldout_before),
        "heldout_after": mean_reward(heldout_after),
        "heldout_change_95": change_interval(heldout_before, heldout_after),
        "heldout_tiers_before": tier_shares(heldout_before) or None,
        "heldout_tiers_after": tier_shares(heldout_after) or None,
        "generations": last.get("generation"),
        "steps": last.get("step"),
        "seconds": last.get("seconds"),
        "judge_verdicts": _total(metrics, "judge/verdicts"),
        "judge_calls": _total(metrics, "judge/calls"),
        "judge_faults": _total(metrics, "judge/faults"),
        "judge_usd": last.get("judge/usd"),
    }
    return {key: value for key, value in summary.items() if value is not None}


def answer_shares(rows: Rows) -> dict[str, float]:
    """Of the answers given in each way, the share that ended, and that had the format wanted."""
    marks = {
        f"{mark}_{row['how']}": [
            one[mark] for one in rows if one.get("how") == row["how"] and mark in one
        ]
        for row in rows
        if "how" in row
        for mark in ("ended", "in_format")
    }
    return {name: fmean(of) for name, of in marks.items() if of}


def mean_reward(rows: Rows) -> float | None:
    """Over the rows with a reward: a judge fault does not vote."""
    rewards = [row["reward"] for row in rows if row.get("reward") is not None]
    return fmean(rewards) if rewards else None


def tier_shares(rows: Rows) -> dict[str, float]:
    counts = Counter(str(row["tier"]) for row in rows if "tier" in row)
    return {tier: count / counts.total() for tier, count in counts.most_common()}


def change_interval(before: Rows, after: Rows) -> list[float] | None:
    """The 95 % bootstrap interval of the mean change, paired by question."""
    rewards_before = _reward_by_id(before)
    rewards_after = _reward_by_id(after)
    # sorted, so that the order of the rows has no say in what is drawn
    changes = sorted(
        rewards_after[id_] - rewards_before[id_]
        for id_ in rewards_before.keys() & rewards_after.keys()
    )
    if len(changes) < 2:
        return None
    import numpy as np
    from scipy.stats import bootstrap

    # percentile: others have no interval where every question changed by the same
    draws = {"n_resamples": 2000, "method": "percentile", "rng": np.random.default_rng(0)}
    found = bootstrap((changes,), np.mean, confidence_level=0.95, **draws).confidence_interval
    return [float(found.low), float(found.high)]


def _total(rows: Rows, key: str) -> float | None:
    measured = [row[key] for row in rows if key in row]
    return sum(measured) if measured else None


def _reward_by_id(rows: Rows) -> dict[str, float]:
    """Each question's mean reward: it may have been answered several times."""
    rewards: dict[str, list[float]] = {}
    for row in rows:
        if row.get("reward") is not None and "id" in row:
            rewards.setdefault(row["id"], []).append(row["reward"])
    return {id_: fmean(of_id) for id_, of_id in rewards.items()}
