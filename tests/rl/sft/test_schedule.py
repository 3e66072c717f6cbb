"""The learning rate of every step is that of its formula, in a run that goes on too."""

import math

import pytest
import torch
from transformers import TrainerCallback

STEPS, PEAK = 20, 1e-3


def warmup_stable_decay(step, warmup=2, decay=5):
    """Of the step that is taken after `step` others: 10 % and 25 % of 20."""
    if step < warmup:
        return step / warmup
    if step < STEPS - decay:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - (STEPS - decay)) / decay))


def cosine(step, warmup=2):
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup)))


def constant(step, warmup=2):
    return min(1.0, step / warmup)


class Watch(TrainerCallback):
    """The rate that each step is really taken at."""

    def __init__(self):
        self.rates = []

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **_):
        self.rates.append(optimizer.param_groups[0]["lr"])


def taken(run, **options):
    watch = Watch()
    run.trainer.add_callback(watch)
    run.trainer.train(**options)
    return watch.rates


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        ({"schedule": "warmup_stable_decay", "decay_share": 0.25}, warmup_stable_decay),
        ({"schedule": "cosine"}, cosine),
        ({"schedule": "constant"}, constant),
    ],
)
def test_every_step_is_taken_at_the_rate_of_the_formula_across_a_resume(
    built, helpers, schedule, formula
):
    sft = helpers.settings(
        steps=STEPS,
        batch_rows=2,
        micro_batch_rows=2,
        learning_rate=PEAK,
        warmup_share=0.1,
        **schedule,
    )
    expected = [PEAK * formula(step) for step in range(STEPS)]
    saved = []
    whole = built(sft, save_every=17, on_checkpoint=lambda folder, *_: saved.append(folder))
    assert taken(whole) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    again = built(sft)
    rest = taken(again, resume_from_checkpoint=str(saved[0]))
    assert rest == pytest.approx(expected[17:], rel=1e-12, abs=1e-15)
    assert [row["lr"] for row in whole.rows] == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adamw_8bit", "paged_adamw_8bit"])
def test_every_optimizer_takes_adams_first_step(built, helpers, optimizer):
    """Its first step is the learning rate against the sign of the gradient, in 8 bits too."""
    run = built(helpers.settings(steps=1, optimizer=optimizer, schedule="constant"))
    before = helpers.flat(p for p in run.policy.model.parameters() if p.requires_grad)
    run.trainer.train()
    after = helpers.flat(p for p in run.policy.model.parameters() if p.requires_grad)
    clear = run.gradients[0].abs() > 1e-4
    assert clear.sum() > 100
    step = -1e-2 * run.gradients[0].sign()
    torch.testing.assert_close((after - before)[clear], step[clear], rtol=1e-2, atol=0)
