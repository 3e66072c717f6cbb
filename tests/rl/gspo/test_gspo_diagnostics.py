"""Diagnostics against plain arithmetic."""

import math

import pytest
import torch

from rl.gspo.diagnostics import (
    RowTable,
    clip_fractions,
    effective_sample_size,
    k1,
    k3,
    update_metrics,
)
from rl.gspo.ratio_bins import RATIO_BINS, RATIO_EDGES


def test_k1_and_k3_average_to_the_kl_and_k3_is_never_negative():
    torch.manual_seed(0)
    sampled, other = torch.randn(2, 50, dtype=torch.float64).log_softmax(-1)
    exact = (sampled.exp() * (sampled - other)).sum()
    for estimator in (k1, k3):
        assert (sampled.exp() * estimator(sampled, other)).sum().item() == pytest.approx(
            exact.item()
        )
    assert (k3(sampled, other) >= 0).all()
    assert (k1(sampled, other) < 0).any()


def test_effective_sample_size_is_a_share():
    assert effective_sample_size(torch.full((7,), 1.3)) == pytest.approx(1.0)
    assert effective_sample_size(torch.tensor([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)


def test_clip_fractions_count_sequences_sides_and_tokens():
    ratios = torch.tensor([1.1, 1.1, 0.9, 0.9, 1.0])
    advantages = torch.tensor([1.0, -1.0, -1.0, 1.0, 1.0])
    lengths = torch.tensor([10.0, 20.0, 30.0, 20.0, 20.0])
    got = clip_fractions(ratios, advantages, lengths, clip_low=0.05, clip_high=0.05)
    assert got == pytest.approx((0.4, 0.2, 0.2, 0.4))


def filled_table() -> RowTable:
    table = RowTable.empty(4, torch.device("cpu"))
    table.write(
        torch.arange(4),
        step=torch.tensor([1, 1, 1, 1]),
        length=torch.tensor([2, 3, 4, 5]),
        advantage=torch.ones(4),
    )
    table.write(
        torch.tensor([0, 2]), ratio=torch.tensor([1.0, 1.5]), entropy_sum=torch.tensor([2.0, 10.0])
    )
    table.write(torch.tensor([3]), kl_ref_sum=torch.tensor([1.0]))
    return table


def test_metrics_are_over_the_rows_that_were_measured():
    metrics = update_metrics(filled_table(), clip_low=3e-4, clip_high=4e-4)
    assert metrics["entropy"] == pytest.approx(12 / 6)
    assert metrics["kl/ref"] == pytest.approx(1 / 5)
    assert (metrics["ratio/min"], metrics["ratio/mean"], metrics["ratio/max"]) == (1.0, 1.25, 1.5)
    assert metrics["clip/seq"] == metrics["clip/high"] == 0.5
    assert metrics["clip/token"] == pytest.approx(4 / 6)
    assert sum(metrics["ratio/histogram"]) == 2
    assert len(metrics["ratio/histogram"]) == len(RATIO_BINS) == len(RATIO_EDGES) + 1


def test_what_was_not_measured_is_absent_and_not_zero():
    metrics = update_metrics(filled_table(), clip_low=3e-4, clip_high=4e-4)
    assert "kl/old" not in metrics
    assert "kl/sampler" not in metrics
    assert update_metrics(RowTable.empty(3, torch.device("cpu")), clip_low=1, clip_high=1) == {}


def test_the_ratio_bins_are_in_order_and_centred_on_one():
    assert list(RATIO_EDGES) == sorted(RATIO_EDGES)
    assert all(
        low + high == pytest.approx(2)
        for low, high in zip(RATIO_EDGES, RATIO_EDGES[::-1], strict=True)
    )


def test_rows_of_a_first_step_whose_ratio_is_1_by_construction_dilute_nothing():
    """Two rows that could not clip, two that could: one of them did."""
    table = RowTable.empty(4, torch.device("cpu"))
    table.write(
        torch.arange(4),
        step=torch.tensor([0, 0, 1, 2]),
        length=torch.tensor([10, 10, 2, 6]),
        advantage=torch.ones(4),
        ratio=torch.tensor([1.0, 1.0, 1.5, 1.0]),
        kl_old_sum=torch.tensor([0.0, 0.0, 0.8, 0.0]),
        entropy_sum=torch.ones(4),
    )
    metrics = update_metrics(table, clip_low=3e-4, clip_high=4e-4)
    assert metrics["clip/seq"] == metrics["clip/high"] == 0.5
    assert metrics["clip/token"] == 0.25
    assert metrics["kl/old"] == pytest.approx(0.8 / 8)
    assert metrics["ess"] == pytest.approx(2.5**2 / (1.5**2 + 1) / 2)
    assert metrics["ratio/log_std"] == pytest.approx(math.log(1.5) / 2)
    assert metrics["entropy"] == pytest.approx(4 / 28)
    assert metrics["ratio/mean"] == pytest.approx(4.5 / 4)
    assert sum(metrics["ratio/histogram"]) == 4


def test_where_nothing_could_clip_no_share_of_it_is_said():
    table = RowTable.empty(1, torch.device("cpu"))
    table.write(
        torch.arange(1),
        step=torch.zeros(1),
        length=torch.ones(1),
        advantage=torch.ones(1),
        ratio=torch.ones(1),
        kl_old_sum=torch.zeros(1),
    )
    metrics = update_metrics(table, clip_low=3e-4, clip_high=4e-4)
    assert metrics["ratio/mean"] == 1.0
    assert not {"clip/seq", "clip/low", "clip/high", "clip/token", "ess", "kl/old"} & metrics.keys()
