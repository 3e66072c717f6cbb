"""Gradients of float16: what overflows is left out by the scaler, until it happens too often."""

from types import SimpleNamespace

import pytest
import torch

from rl.run.finite import HALVINGS, FiniteSteps


class Training:
    """A weight, its scaler, and the calls that a trainer makes around a step."""

    def __init__(self, *, fp16=True):
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu", enabled=fp16)
        self.args = SimpleNamespace(fp16=fp16)
        self.state = SimpleNamespace(global_step=0)
        self.finite = FiniteSteps(anywhere=bool, keeps_weights=True, way_out="Try another.")

    @property
    def weight(self):
        return self.model.weight.item()

    def step(self, gradient):
        self.finite.watch(torch.tensor(1.0))
        (weight,) = self.model.parameters()
        loss = (weight * gradient).sum()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        parts = {"model": self.model}
        self.finite.on_pre_optimizer_step(self.args, self.state, None, **parts)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.finite.on_optimizer_step(self.args, self.state, None, **parts)
        self.optimizer.zero_grad()
        self.state.global_step += 1


def test_a_step_that_overflows_is_left_out_and_the_next_is_taken():
    training = Training()
    before = training.weight
    training.step(torch.inf)
    assert training.weight == before
    assert training.scaler.get_scale() == 2**15
    training.step(1.0)
    assert training.weight == pytest.approx(before - 0.1)
    assert training.finite.broken is None


def test_a_gradient_that_stays_broken_at_any_scale_ends_the_run():
    training = Training()
    before = training.weight
    for _ in range(HALVINGS):
        training.step(torch.nan)
    assert training.finite.broken is None
    training.step(torch.nan)
    assert "gradient of optimizer step 25 is not finite" in training.finite.broken
    assert training.weight == before


def test_without_a_scale_the_first_one_ends_it():
    training = Training(fp16=False)
    before = training.weight
    training.step(torch.inf)
    assert "gradient of optimizer step 1 is not finite" in training.finite.broken
    assert training.weight == before
