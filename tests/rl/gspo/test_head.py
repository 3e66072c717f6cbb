"""Log-probabilities from hidden states against the whole logits."""

import pytest
import torch

from rl.gspo import head


def dense(hidden, weight, bias, targets, scale):
    logits = (hidden @ weight.t() + (0 if bias is None else bias)) * scale
    chances = logits.log_softmax(-1)
    return chances.gather(-1, targets[:, None]).squeeze(-1), -(chances.exp() * chances).sum(-1)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("trains_head", [False, True])
@pytest.mark.parametrize("tile_tokens", [1, 3, 100])
def test_tiles_give_the_log_probs_entropies_and_gradients_of_the_whole_logits(
    monkeypatch, with_bias, trains_head, tile_tokens
):
    torch.manual_seed(0)
    monkeypatch.setattr(head, "TILE_ELEMENTS", 11 * tile_tokens)
    weight = torch.randn(11, 5, requires_grad=trains_head)
    bias = torch.randn(11, requires_grad=trains_head) if with_bias else None
    targets = torch.randint(0, 11, (8,))
    upstream = torch.randn(8)
    results = []
    for function in (head.token_logps, dense):
        hidden = torch.randn(8, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
        logps, entropies = function(hidden, weight, bias, targets, 0.7)
        inputs = [hidden, weight, bias] if trains_head else [hidden]
        inputs = [x for x in inputs if x is not None]
        results.append([logps, entropies, *torch.autograd.grad(logps @ upstream, inputs)])
    for ours, wanted in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-6)


def test_a_nearly_certain_token_keeps_its_gradient_in_bfloat16():
    hidden = torch.tensor([[8.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
    weight = torch.tensor([[1.0, 0.5], [0.0, 1.0]], dtype=torch.bfloat16)
    logps, _ = head.token_logps(hidden, weight, None, torch.tensor([0]), 1.0)
    logps.sum().backward()
    other = torch.sigmoid(torch.tensor(-8.0))
    torch.testing.assert_close(
        hidden.grad.float(), other * torch.tensor([[1.0, -0.5]]), rtol=2e-2, atol=0
    )


def test_nothing_to_score_gives_nothing_and_still_differentiates():
    hidden = torch.zeros(0, 5, requires_grad=True)
    logps, _ = head.token_logps(hidden, torch.randn(11, 5), None, torch.zeros(0).long(), 1.0)
    logps.sum().backward()
    assert hidden.grad.shape == (0, 5)


def test_a_model_that_bends_its_logits_is_refused(tiny):
    policy = tiny()
    policy.model.get_base_model().config.final_logit_softcapping = 30.0
    with pytest.raises(ValueError, match=r"final_logit_softcapping=30\.0"):
        head.attach_token_head(policy.model.get_base_model(), temperature=1.0)


def test_a_call_without_targets_is_the_models_own(tiny):
    model = tiny().model
    ids = torch.arange(2, 8)[None]
    before = model(input_ids=ids).logits
    head.attach_token_head(model.get_base_model(), temperature=1.0)
    assert torch.equal(model(input_ids=ids).logits, before)
    assert model.generate(input_ids=ids, max_new_tokens=2, do_sample=False).shape[0] == 1


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("trains_head", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_logits_of_bfloat16_weights_are_not_rounded_to_it(with_bias, trains_head, autocast):
    """Rounded, they would be off by 0.03 a token: a hundred times the clip window."""
    draw = torch.Generator().manual_seed(0)
    hidden, weight, bias = (torch.randn(*n, generator=draw) for n in [(64, 32), (500, 32), (500,)])
    hidden, weight, bias = (x.to(torch.bfloat16) for x in (3 * hidden, weight, bias))
    bias = bias if with_bias else None
    targets = torch.randint(0, 500, (64,), generator=draw)
    wide = (x if x is None else x.double() for x in (hidden, weight, bias))
    exact, exact_entropies = dense(*wide, targets, 0.9)
    weight.requires_grad_(trains_head)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logps, entropies = head.token_logps(hidden.requires_grad_(), weight, bias, targets, 0.9)
    assert logps.dtype == torch.float32
    assert (logps - exact).abs().max() < 1e-4
    assert (entropies - exact_entropies).abs().max() < 1e-4
    logps.sum().backward()
    assert hidden.grad.dtype == torch.bfloat16
    assert weight.grad is None or weight.grad.dtype == torch.bfloat16


def test_a_trained_head_in_bfloat16_has_the_gradients_of_the_whole_logits():
    draw = torch.Generator().manual_seed(0)
    leaves = [torch.randn(*n, generator=draw) for n in [(40, 16), (300, 16), (300,)]]
    targets = torch.randint(0, 300, (40,), generator=draw)
    gradients = []
    for dtype in (torch.bfloat16, torch.float64):
        parts = [x.bfloat16().to(dtype).requires_grad_() for x in leaves]
        logps, _ = (head.token_logps if dtype == torch.bfloat16 else dense)(*parts, targets, 0.9)
        gradients.append(torch.autograd.grad(logps.sum(), parts))
    for ours, wanted in zip(*gradients, strict=True):
        assert (ours.double() - wanted).norm() < 1e-2 * wanted.norm()
