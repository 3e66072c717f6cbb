"""The loss against the paper, written again here in float64 NumPy."""

import numpy as np
import pytest
import torch

from rl.gspo.objective import gspo_loss, gspo_token_loss, kl_loss

WINDOW = {"clip_low": 3e-4, "clip_high": 4e-4}
WIDE = {"clip_low": 0.2, "clip_high": 0.28}
MAX_LENGTH = 40


def paper_loss_and_gradient(
    logps, old_logps, advantages, lengths, live, aggregation, clip_low, clip_high
):
    """-1/n sum_i min(s_i A_i, clip(s_i) A_i), s_i = (pi/pi_old)^(1/|y_i|), row by row."""
    gradient = np.zeros_like(logps)
    loss, rows = 0.0, sum(live)
    for i in range(len(logps)):
        if not live[i]:
            continue
        n = lengths[i]
        s = 1.0 if n == 0 else np.exp(np.sum(logps[i, :n] - old_logps[i, :n]) / n)
        a = advantages[i]
        free, bounded = s * a, min(max(s, 1 - clip_low), 1 + clip_high) * a
        weight = 1.0 if aggregation == "sequence" else n / MAX_LENGTH
        loss -= weight * min(free, bounded) / rows
        if n and free <= bounded:
            gradient[i, :n] = -weight * s * a / n / rows
    return loss, gradient


def random_batch(rng, spread):
    rows, width = rng.integers(1, 9), rng.integers(1, 13)
    lengths = rng.integers(0, width + 1, size=rows)
    lengths[rng.integers(rows)] = width
    old_logps = -rng.exponential(1.0, size=(rows, width))
    logps = old_logps + rng.normal(0, spread, size=(rows, width))
    advantages = rng.normal(size=rows) * (rng.random(rows) > 0.2)
    live = rng.random(rows) > 0.2
    live[0] = True
    mask = np.arange(width)[None, :] < lengths[:, None]
    return logps, old_logps, advantages, lengths, live, mask


def loss_and_gradient(logps, old_logps, advantages, mask, live=None, function=gspo_loss, **options):
    logps_BT = torch.tensor(logps, requires_grad=True)
    out = function(
        logps_BT,
        torch.tensor(old_logps),
        torch.tensor(advantages),
        torch.tensor(mask),
        live_B=None if live is None else torch.tensor(live),
        **options,
    )
    out.loss.backward()
    return out, logps_BT.grad.numpy()


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("aggregation", ["sequence", "dr_grpo"])
@pytest.mark.parametrize(("spread", "window"), [(2e-3, WINDOW), (1e-5, WINDOW), (0.6, WIDE)])
def test_loss_and_gradient_are_the_papers_on_random_batches(aggregation, spread, window):
    rng = np.random.default_rng(7)
    cut = 0
    for _ in range(1000):
        logps, old_logps, advantages, lengths, live, mask = random_batch(rng, spread)
        out, gradient = loss_and_gradient(
            logps,
            old_logps,
            advantages,
            mask,
            live,
            aggregation=aggregation,
            max_length=MAX_LENGTH,
            **window,
        )
        wanted, wanted_gradient = paper_loss_and_gradient(
            logps, old_logps, advantages, lengths, live, aggregation, **window
        )
        close(out.loss.item(), wanted)
        close(gradient, wanted_gradient)
        cut += int(out.clipped_B.sum())
    if spread == 1e-5:
        assert cut == 0
    else:
        assert cut > 100


def test_the_reference_gradient_is_the_slope_of_the_reference_loss():
    rng = np.random.default_rng(3)
    logps, old_logps, advantages, lengths, live, _ = random_batch(rng, 2e-3)
    rest = (old_logps, advantages, lengths, live, "sequence", 3e-4, 4e-4)
    _, gradient = paper_loss_and_gradient(logps, *rest)
    for i, t in np.ndindex(*logps.shape):
        step = np.zeros_like(logps)
        step[i, t] = 1e-7
        up, down = (paper_loss_and_gradient(logps + d, *rest)[0] for d in (step, -step))
        assert (up - down) / 2e-7 == pytest.approx(gradient[i, t], rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("aggregation", ["sequence", "dr_grpo"])
def test_padding_changes_nothing_whatever_it_holds(aggregation):
    rng = np.random.default_rng(1)
    logps, old_logps, advantages, _, live, mask = random_batch(rng, 1e-3)
    options = {"aggregation": aggregation, "max_length": MAX_LENGTH, **WINDOW}
    out, gradient = loss_and_gradient(logps, old_logps, advantages, mask, live, **options)
    padding = np.full((len(logps), 5), np.nan)
    wide, wide_gradient = loss_and_gradient(
        np.concatenate([logps, padding], 1),
        np.concatenate([old_logps, padding], 1),
        advantages,
        np.concatenate([mask, np.zeros_like(padding, bool)], 1),
        live,
        **options,
    )
    close(wide.loss.item(), out.loss.item())
    close(wide_gradient[:, : logps.shape[1]], gradient)
    assert not wide_gradient[:, logps.shape[1] :].any()


def test_row_order_changes_nothing():
    rng = np.random.default_rng(2)
    logps, old_logps, advantages, _, live, mask = random_batch(rng, 1e-3)
    order = rng.permutation(len(logps))
    out, gradient = loss_and_gradient(logps, old_logps, advantages, mask, live, **WINDOW)
    turned, turned_gradient = loss_and_gradient(
        *(x[order] for x in (logps, old_logps, advantages, mask, live)), **WINDOW
    )
    close(turned.loss.item(), out.loss.item())
    close(turned_gradient, gradient[order])
    close(turned.ratios_B, out.ratios_B[order])


@pytest.mark.parametrize("aggregation", ["sequence", "dr_grpo"])
@pytest.mark.parametrize("cuts", [[3], [1, 2, 5], [0, 4]])
def test_micro_batches_add_up_to_the_whole(aggregation, cuts):
    rng = np.random.default_rng(4)
    shape = (7, 6)
    old_logps = -rng.exponential(1.0, size=shape)
    logps = old_logps + rng.normal(0, 1e-3, size=shape)
    mask = np.arange(6)[None, :] < np.array([6, 3, 1, 5, 2, 6, 4])[:, None]
    advantages = rng.normal(size=7)
    live = np.array([True, False, True, True, False, True, True])
    options = {"aggregation": aggregation, "max_length": MAX_LENGTH, **WINDOW}
    out, gradient = loss_and_gradient(logps, old_logps, advantages, mask, live, **options)
    parts = [
        loss_and_gradient(*rows, live_total=5, **options)
        for rows in zip(
            *(np.split(x, cuts) for x in (logps, old_logps, advantages, mask, live)), strict=True
        )
    ]
    close(sum(part.loss.item() for part, _ in parts), out.loss.item())
    close(np.concatenate([part for _, part in parts]), gradient)


def test_dead_rows_are_as_if_they_had_never_been_there():
    rng = np.random.default_rng(5)
    shape = (6, 5)
    old_logps = -rng.exponential(1.0, size=shape)
    logps = old_logps + rng.normal(0, 1e-3, size=shape)
    mask = np.ones(shape, bool)
    advantages = rng.normal(size=6)
    live = np.array([True, True, False, True, False, True])
    for poison in (np.nan, np.inf, -np.inf):
        for field in (logps, old_logps, advantages):
            field[~live] = poison
        out, gradient = loss_and_gradient(logps, old_logps, advantages, mask, live, **WINDOW)
        alone, alone_gradient = loss_and_gradient(
            *(x[live] for x in (logps, old_logps, advantages, mask)), **WINDOW
        )
        assert out.loss.item() == alone.loss.item()
        np.testing.assert_array_equal(gradient[live], alone_gradient)
        assert not gradient[~live].any()
        assert torch.equal(out.ratios_B.isnan(), torch.tensor(~live))
        assert not out.clipped_B[torch.tensor(~live)].any()


@pytest.mark.parametrize("function", [gspo_loss, gspo_token_loss])
def test_a_batch_of_dead_rows_costs_nothing_and_moves_nothing(function):
    shape = (3, 4)
    advantages = np.full(shape if function is gspo_token_loss else 3, np.nan)
    out, gradient = loss_and_gradient(
        np.full(shape, np.nan),
        np.full(shape, np.nan),
        advantages,
        np.ones(shape, bool),
        np.zeros(3, bool),
        function=function,
        **WINDOW,
    )
    assert out.loss.item() == 0.0
    assert not gradient.any()


def test_an_empty_completion_and_a_single_token_give_finite_numbers():
    logps = np.array([[-1.0, -2.0], [-0.5, -9.0]])
    mask = np.array([[False, False], [True, False]])
    out, gradient = loss_and_gradient(logps, logps - 1e-5, np.array([1.0, -1.0]), mask, **WINDOW)
    assert np.isfinite(out.loss.item())
    assert out.ratios_B[0] == 1.0
    assert not gradient[0].any()
    assert gradient[1, 0] > 0
    assert gradient[1, 1] == 0


def test_dr_grpo_without_a_length_is_refused():
    with pytest.raises(ValueError, match="max_length"):
        gspo_loss(
            *torch.zeros(2, 1, 3), torch.zeros(1), torch.ones(1, 3), aggregation="dr_grpo", **WINDOW
        )


@pytest.mark.parametrize("aggregation", ["sequence", "dr_grpo"])
def test_gspo_token_with_one_advantage_a_row_is_gspo(aggregation):
    rng = np.random.default_rng(6)
    for _ in range(50):
        logps, old_logps, advantages, lengths, live, mask = random_batch(rng, 1e-3)
        live = live & (lengths > 0)
        live[lengths.argmax()] = True
        options = {"aggregation": aggregation, "max_length": MAX_LENGTH, **WINDOW}
        out, gradient = loss_and_gradient(logps, old_logps, advantages, mask, live, **options)
        token, token_gradient = loss_and_gradient(
            logps,
            old_logps,
            np.repeat(advantages[:, None], logps.shape[1], 1),
            mask,
            live,
            function=gspo_token_loss,
            **options,
        )
        close(token.loss.item(), out.loss.item())
        close(token_gradient, gradient)
        assert torch.equal(token.clipped_B, out.clipped_B)


def test_gspo_token_gives_each_token_its_own_advantage():
    old_logps = np.array([[-1.0, -1.0, -1.0]])
    logps = old_logps + 1e-5
    advantages = np.array([[1.0, -2.0, 0.0]])
    out, gradient = loss_and_gradient(
        logps, old_logps, advantages, np.ones((1, 3), bool), function=gspo_token_loss, **WINDOW
    )
    ratio = np.exp(1e-5)
    close(out.loss.item(), -(ratio * (1 - 2 + 0)) / 3)
    close(gradient, -ratio * advantages / 3)


def test_kl_loss_has_the_value_and_the_gradient_of_the_kl_itself():
    """Every token of a small vocabulary, weighted by its chance under the old policy."""
    torch.manual_seed(0)
    logits = torch.randn(6, dtype=torch.float64, requires_grad=True)
    old = (logits.detach() + 0.1 * torch.randn(6, dtype=torch.float64)).log_softmax(-1)
    reference = torch.randn(6, dtype=torch.float64).log_softmax(-1)

    policy = logits.log_softmax(-1)
    exact = (policy.exp() * (policy - reference)).sum()
    (wanted,) = torch.autograd.grad(exact, logits, retain_graph=True)
    each = torch.stack(
        [
            kl_loss(
                policy[v].view(1, 1), old[v].view(1, 1), reference[v].view(1, 1), torch.ones(1, 1)
            )
            for v in range(6)
        ]
    )
    expected = (old.exp() * each).sum()
    (gradient,) = torch.autograd.grad(expected, logits)
    assert expected.item() == pytest.approx(exact.item(), rel=1e-12)
    torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-14)


def test_kl_loss_ignores_dead_rows_and_is_zero_at_the_reference():
    logps_BT = torch.tensor([[-1.0, -2.0], [-3.0, float("nan")]], requires_grad=True)
    loss = kl_loss(
        logps_BT,
        logps_BT.detach(),
        logps_BT.detach(),
        torch.ones(2, 2),
        live_B=torch.tensor([True, False]),
    )
    loss.backward()
    assert loss.item() == 0.0
    assert not logps_BT.grad.any()


def test_bfloat16_log_probs_are_compared_in_float32():
    old_BT = torch.tensor([[-1.0, -2.0]], dtype=torch.bfloat16)
    out = gspo_loss(old_BT, old_BT.float() - 2e-4, torch.ones(1), torch.ones(1, 2), **WINDOW)
    assert out.ratios_B.dtype == torch.float32
    assert out.ratios_B.item() == pytest.approx(1 + 2e-4, abs=1e-6)
