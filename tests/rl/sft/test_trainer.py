"""The loop: order, held-out rows on the way, a stop at what is not finite, resume."""

import math

import pytest
import torch


def test_every_row_is_learnt_from_once_a_pass_in_an_order_of_its_own(built, helpers):
    rows = helpers.token_rows(16)
    run = built(helpers.settings(steps=4), rows=rows)
    seen = run.trainer.train_dataset["input_ids"]
    first, second = seen[:16], seen[16:]
    everything = sorted(row.token_ids for row in rows)
    assert sorted(first) == sorted(second) == everything
    assert first != second
    assert [len(ids) for ids in seen[:8]] == sorted(len(ids) for ids in seen[:8])


def test_the_seed_decides_the_order_and_nothing_else_does(built, helpers):
    def order(**options):
        return built(rows=helpers.token_rows(16), **options).trainer.train_dataset["input_ids"]

    assert list(order(seed=3)) == list(order(seed=3, evaluate_every=1, save_every=1))
    assert list(order(seed=3)) != list(order(seed=4))


def test_held_out_rows_are_measured_when_it_is_time_and_at_the_end(built, helpers):
    run = built(helpers.settings(steps=5), heldout=helpers.token_rows(4, seed=9), evaluate_every=2)
    run.trainer.train()
    assert [row["step"] for row in run.rows] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in run.rows if "heldout/loss" in row] == [2, 4, 5]


def test_measuring_held_out_rows_changes_nothing_that_is_learnt(built, helpers):
    plain = built(helpers.settings(steps=3))
    watched = built(
        helpers.settings(steps=3), heldout=helpers.token_rows(4, seed=9), evaluate_every=1
    )
    for run in (plain, watched):
        run.trainer.train()
    assert torch.equal(weights(plain), weights(watched))


def weights(run):
    return torch.cat(
        [p.detach().flatten() for p in run.policy.model.parameters() if p.requires_grad]
    )


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_what_is_not_finite_takes_no_step_and_ends_the_run(built, helpers, broken):
    run = built(helpers.settings(steps=4))
    model, steps = run.policy.model, []
    before = {}

    def poison(*_):
        steps.append(len(run.rows))
        if len(run.rows) == 1:
            before.setdefault("weights", weights(run))
            if broken == "loss":
                model.get_output_embeddings().weight.data[5] = math.inf
            else:
                first = next(p for p in model.parameters() if p.requires_grad)
                first.register_hook(lambda gradient: gradient * math.nan)

    model.register_forward_pre_hook(poison)
    run.trainer.train()
    assert len(run.rows) == 2
    assert torch.equal(weights(run), before["weights"])
    for words in (f"the {broken} of optimizer step 2", "--sft.learning-rate"):
        assert words in run.trainer.stop_reason == run.rows[-1]["stop_reason"]


def test_a_held_out_loss_that_is_not_finite_ends_the_run(built, helpers):
    run = built(helpers.settings(steps=4), heldout=helpers.token_rows(4, seed=9), evaluate_every=2)
    run.trainer.heldout_losses = lambda: {"heldout/loss": math.nan}
    run.trainer.train()
    assert len(run.rows) == 2
    assert run.trainer.stop_reason.startswith("heldout/loss is nan after step 2")


@pytest.mark.slow
def test_a_run_that_goes_on_from_a_checkpoint_is_the_run_that_was_never_stopped(built, helpers):
    heldout = helpers.token_rows(4, seed=9)
    options = {"heldout": heldout, "evaluate_every": 2, "save_every": 3}
    whole = built(helpers.settings(steps=7), **options)
    whole.trainer.train()
    saved = []
    first = built(
        helpers.settings(steps=7), on_checkpoint=lambda *told: saved.append(told), **options
    )
    first.trainer.train()
    folder, _, _ = next(told for told in saved if told[1] == 3)
    again = built(helpers.settings(steps=7), **options)
    again.trainer.train(resume_from_checkpoint=str(folder))
    assert [row["step"] for row in again.rows] == [4, 5, 6, 7]
    assert torch.equal(weights(again), weights(whole))
    for ours, theirs in zip(again.rows, whole.rows[3:], strict=True):
        clock = {"tokens_per_s"}
        assert {k: v for k, v in ours.items() if k not in clock} == {
            k: v for k, v in theirs.items() if k not in clock
        }


@pytest.mark.slow
def test_a_checkpoint_is_written_where_the_held_out_loss_was_lowest(built, helpers):
    losses = iter([3.0, 2.0, 2.5, 2.2])
    saved = []
    run = built(
        helpers.settings(steps=8),
        heldout=helpers.token_rows(4, seed=9),
        evaluate_every=2,
        save_every=100,
        on_checkpoint=lambda folder, step, score: saved.append((step, score)),
    )
    run.trainer.heldout_losses = lambda: {"heldout/loss": next(losses)}
    run.trainer.train()
    assert saved[:2] == [(2, -3.0), (4, -2.0)]
    assert {step for step, _ in saved} <= {2, 4, 8}
