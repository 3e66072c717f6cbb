"""The loss and its gradient, against a formula of their own in float64."""

import math

import pytest
import torch

UNCLIPPED = {"trl_overrides": {"max_grad_norm": 1e9}}


def rows_of_step(built, step, sft):
    data = built.trainer.train_dataset
    return [data[n] for n in range(step * sft.batch_rows, (step + 1) * sft.batch_rows)]


def closed_form(policy, rows):
    """The mean over the learnt tokens of all rows of minus their log-probability, and its gradient.

    Row by row, without padding or masks, the softmax written out.
    """
    model = policy.model.double()
    total, learnt = torch.zeros((), dtype=torch.float64), 0
    for row in rows:
        logits = model(torch.tensor([row["input_ids"]])).logits[0]
        for place, wanted in enumerate(row["labels"]):
            if wanted == -100:
                continue
            before = logits[place - 1]
            total = total - (before[wanted] - before.exp().sum().log())
            learnt += 1
    loss = total / learnt
    gradient = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    return loss.item(), torch.cat([part.flatten() for part in gradient])


@pytest.mark.parametrize("micro_batch_rows", [8, 2])
def test_loss_and_gradient_are_those_of_the_formula(built, helpers, micro_batch_rows):
    sft = helpers.settings(steps=1, micro_batch_rows=micro_batch_rows)
    run = built(sft, **UNCLIPPED)
    run.trainer.train()
    loss, gradient = closed_form(helpers.tiny_policy(), rows_of_step(run, 0, sft))
    assert run.rows[0]["loss"] == pytest.approx(loss, rel=1e-5)
    assert gradient.norm() > 1e-2
    torch.testing.assert_close(run.gradients[0].double(), gradient, rtol=1e-3, atol=1e-6)


def test_prompts_are_not_learnt_and_the_end_is(helpers):
    for row in helpers.token_rows():
        labels = row.labels()
        assert len(labels) == len(row.token_ids)
        assert labels[: row.prompt_tokens] == [-100] * row.prompt_tokens
        assert labels[row.prompt_tokens :] == row.token_ids[row.prompt_tokens :]
        assert labels[-1] == helpers.EOS


def test_the_end_token_is_learnt_where_it_is_the_padding_too(built, helpers):
    """Masked as padding it would have no gradient, and the policy would never stop."""
    policy = helpers.tiny_policy()
    policy.tokenizer.pad_token = policy.tokenizer.eos_token
    sft = helpers.settings(steps=1)
    run = built(sft, policy=policy, **UNCLIPPED)
    run.trainer.train()
    rows = rows_of_step(run, 0, sft)
    assert all(row["labels"][-1] == helpers.EOS for row in rows)
    loss, gradient = closed_form(helpers.tiny_policy(), rows)
    assert run.rows[0]["loss"] == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(run.gradients[0].double(), gradient, rtol=1e-3, atol=1e-6)


def test_held_out_loss_is_the_mean_over_all_learnt_tokens_however_they_are_batched(built, helpers):
    heldout = helpers.token_rows(11, seed=5)
    expected, _ = closed_form(
        helpers.tiny_policy(),
        [{"input_ids": row.token_ids, "labels": row.labels()} for row in heldout],
    )
    for at_once in (1, 4):
        run = built(helpers.settings(micro_batch_rows=at_once), heldout=heldout)
        assert run.trainer.heldout_losses()["heldout/loss"] == pytest.approx(expected, rel=1e-5)


def test_packed_rows_have_the_gradient_of_rows_alone(built, helpers):
    rows = helpers.token_rows(12)
    alone = built(helpers.settings(steps=1, batch_rows=12), rows=rows, **UNCLIPPED)
    alone.trainer.train()
    packing = {"packing": True, "max_tokens": 40, "micro_batch_rows": 1}
    longest = sum(len(row.token_ids) for row in rows)
    assert longest > 80  # several packs
    one_step = helpers.settings(steps=1, batch_rows=math.ceil(longest / 36), **packing)
    packed = built(one_step, rows=rows, **UNCLIPPED)
    packs = packed.trainer.train_dataset
    assert sum(len(lengths) for lengths in packs["seq_lengths"]) == len(rows) > len(packs)
    packed.trainer.train()
    torch.testing.assert_close(packed.gradients[0], alone.gradients[0], rtol=0, atol=1e-5)
    assert packed.rows[0]["loss"] == pytest.approx(alone.rows[0]["loss"], rel=1e-5)
