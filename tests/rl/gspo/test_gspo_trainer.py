"""Whole runs on tiny random policies: who votes, who is computed, what is said about it."""

import math
from dataclasses import replace

import pytest
import torch

pytestmark = pytest.mark.slow

NO_CLIPPING_OF_THE_NORM = {"max_grad_norm": 1e9}


def trained_weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])


@pytest.mark.parametrize("kind", ["llama", "qwen35"])
def test_a_run_moves_the_adapter_and_reports_each_generation(train, tiny, rollouts, kind):
    policy = tiny(kind)
    before = torch.cat([p.detach().flatten() for p in policy.model.parameters() if p.requires_grad])
    run = train(policy=policy, rollout=rollouts(logprobs=True))
    assert not torch.equal(trained_weights(run.trainer), before)
    assert [row["generation"] for row in run.rows] == [1, 2]
    assert [row["step"] for row in run.rows] == [2, 4]
    for row in run.rows:
        assert {"ratio/min", "ratio/mean", "ratio/max", "ratio/log_std", "ratio/histogram"} <= {
            *row
        }
        assert {"clip/seq", "clip/token", "clip/low", "clip/high", "ess", "entropy"} <= {*row}
        assert {"kl/ref", "kl/old", "kl/sampler", "grad_norm", "lr", "rows/live"} <= {*row}
        assert row["ratio/min"] < 1 < row["ratio/max"]
        assert row["kl/old"] > 0
        assert (row["kl/ref"] > 1e-9) == (row["generation"] > 1)
        # Of the second of two steps alone: in the first nothing can be cut.
        assert row["clip/seq"] in [count / 8 for count in range(1, 9)]
        assert 0 < row["ess"] <= 1
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def test_the_same_seed_gives_the_same_run(train):
    first, second = train(), train()
    assert torch.equal(trained_weights(first.trainer), trained_weights(second.trainer))
    other = train(seed=1)
    assert not torch.equal(trained_weights(first.trainer), trained_weights(other.trainer))


def test_one_minibatch_has_every_ratio_at_exactly_one(train, settings):
    run = train(settings(minibatches=1, on_policy=True))
    for row in run.rows:
        assert row["ratio/min"] == row["ratio/max"] == 1.0
        assert not {"clip/seq", "ess", "kl/old"} & row.keys()


@pytest.mark.parametrize("aggregation", ["sequence", "dr_grpo"])
@pytest.mark.parametrize("micro_batch_rows", [1, 2])
def test_the_split_into_micro_batches_is_not_in_the_gradient(
    train, settings, rollouts, gradients, aggregation, micro_batch_rows
):
    kept = []
    for rows in (8, micro_batch_rows):
        run = train(
            settings(generations=1, micro_batch_rows=rows, aggregation=aggregation),
            rollout=rollouts(missing=0.2),
            start=False,
            trl_overrides=NO_CLIPPING_OF_THE_NORM,
        )
        kept.append(gradients(run.trainer))
        run.trainer.train()
    torch.testing.assert_close(kept[1][0], kept[0][0], rtol=1e-4, atol=1e-7)


def test_rows_without_a_verdict_are_counted_and_left_out(train, rollouts):
    run = train(rollout=rollouts(missing=0.3))
    for row in run.rows:
        assert row["rows/live"] + row["rows/dead"] == 16
        assert row["rows/dead"] == sum(n for name, n in row.items() if "rows/dead_" in name)
        assert row["rows/dead_no_verdict"] > 0
        assert sum(row["ratio/histogram"]) <= row["rows/live"]
    dead = [advantage is None for advantage in run.advantages]
    assert sum(dead) == run.rows[-1]["rows/dead"]


def changed(rollout, change):
    """The rollout with its generation put through `change`."""

    def changed_rollout(prompt_ids):
        generation = rollout(prompt_ids)
        change(generation)
        return generation

    return changed_rollout


def test_what_a_dead_row_says_moves_nothing(train, settings, rollouts, gradients):
    """Two runs that differ only in the text of a row without a verdict."""
    kept = []
    for word in (20, 50):

        def speechless(out, word=word):
            out.rewards[3] = None
            out.completion_ids[3] = [word] * 5

        run = train(
            settings(generations=1, minibatches=1, on_policy=True),
            rollout=changed(rollouts(), speechless),
            start=False,
        )
        kept.append(gradients(run.trainer))
        run.trainer.train()
        assert run.rows[0]["rows/dead"] == 1
    assert torch.equal(kept[0][0], kept[1][0])


def test_a_batch_of_dead_rows_moves_nothing_not_even_by_momentum(train, settings, rollouts, tiny):
    policy, speech = tiny(), rollouts()
    calls = []

    def outage(prompt_ids):
        calls.append(trained_weights(policy))
        out = speech(prompt_ids)
        return replace(out, rewards=[None] * len(prompt_ids)) if len(calls) > 1 else out

    run = train(settings(generations=3), policy=policy, rollout=outage)
    assert not torch.equal(calls[0], calls[1])
    assert torch.equal(calls[1], calls[2])
    assert torch.equal(calls[1], trained_weights(run.trainer))
    assert run.rows[1]["rows/dead"] == run.rows[1]["rows/dead_no_verdict"] == 16
    assert run.rows[1]["grad_norm"] == 0
    assert "ratio/mean" not in run.rows[1]
    assert "reward/mean" not in run.rows[1]


@pytest.mark.parametrize("reward", [math.inf, -math.inf, math.nan])
def test_a_reward_that_is_no_number_is_a_dead_row(train, settings, rollouts, reward):
    run = train(
        settings(generations=1),
        rollout=changed(rollouts(), lambda out: out.rewards.__setitem__(0, reward)),
    )
    assert run.rows[0]["rows/dead"] == 1
    assert math.isfinite(run.rows[0]["grad_norm"])
    assert math.isfinite(run.rows[0]["reward/mean"])


@pytest.mark.parametrize("lengths", [(0, 3), (1,), (0,), (8, 1, 0, 1)])
@pytest.mark.parametrize("minibatches", [2, 4])
def test_empty_and_one_token_completions_train(train, settings, rollouts, lengths, minibatches):
    run = train(
        settings(generations=1, minibatches=minibatches),
        rollout=rollouts(lengths=lengths, logprobs=True),
    )
    assert run.rows[0]["rows/live"] == 16
    assert math.isfinite(run.rows[0]["grad_norm"])
    assert torch.isfinite(trained_weights(run.trainer)).all()


def test_rows_of_groups_that_agree_are_not_computed_and_stay_in_the_denominator(
    train, settings, rollouts, gradients
):
    """Rewards of 1.0 in half the groups: the others' gradient is halved by them, not raised."""
    kept = []
    for same in ("agree", "are_dead"):

        def half(out, same=same):
            out.rewards[:8] = [1.0 if same == "agree" else None] * 8

        run = train(
            settings(generations=1, minibatches=1, on_policy=True),
            rollout=changed(rollouts(), half),
            start=False,
            trl_overrides=NO_CLIPPING_OF_THE_NORM,
        )
        kept.append(gradients(run.trainer))
        run.trainer.train()
        assert sum(run.rows[0]["ratio/histogram"]) == 8
        assert run.rows[0]["groups/zero_spread"] == (2 if same == "agree" else 0)
    torch.testing.assert_close(kept[0][0] * 2, kept[1][0], rtol=1e-5, atol=1e-8)


def test_truncated_rows_are_dead_only_when_asked(train, settings, rollouts):
    def cut(prompt_ids):
        return replace(rollouts()(prompt_ids), truncated=[True, False] * 8)

    row = train(settings(generations=1, truncated="dead"), rollout=cut).rows[0]
    assert row["rows/dead"] == row["rows/dead_truncated"] == 8
    assert train(settings(generations=1), rollout=cut).rows[0]["rows/dead"] == 0


def test_a_group_below_the_quorum_is_dead_and_said_so(train, settings, rollouts):
    def quiet(out):
        out.rewards[:3] = [None] * 3

    row = train(settings(generations=1), rollout=changed(rollouts(), quiet)).rows[0]
    assert (row["rows/dead"], row["rows/dead_below_quorum"]) == (4, 1)


def test_the_sampler_can_stand_for_the_old_policy(train, settings, rollouts, tiny):
    """With the trainer's own log-probabilities as the sampler's, both ways take the same step."""
    from rl.gspo.batch import Batch
    from rl.gspo.update import score

    def honest(prompt_ids):
        out = speech(prompt_ids)
        batch = Batch.of(out.prompt_ids, out.completion_ids, None, torch.device("cpu"))
        with torch.no_grad():
            logps_BT, _ = score(policy.model, batch)
        rows = zip(logps_BT, out.completion_ids, strict=True)
        return replace(out, logprobs=[row[: len(ids)].tolist() for row, ids in rows])

    runs = []
    for old_policy in ("trainer", "sampler"):
        policy, speech = tiny(), rollouts()
        runs.append(train(settings(old_policy=old_policy), policy=policy, rollout=honest))
    torch.testing.assert_close(
        *(trained_weights(run.trainer) for run in runs), rtol=1e-4, atol=1e-6
    )
    for row in runs[1].rows:
        assert row["kl/sampler"] == pytest.approx(0, abs=1e-6)


def test_a_row_the_sampler_cannot_score_is_dead_when_its_log_probs_are_needed(
    train, settings, rollouts
):
    unscored = changed(rollouts(logprobs=True), lambda out: out.logprobs[0].__setitem__(0, None))
    row = train(settings(generations=1, old_policy="sampler"), rollout=unscored).rows[0]
    assert row["rows/dead_no_logprobs"] == 1
    assert math.isfinite(row["ratio/mean"])
    assert train(settings(generations=1), rollout=unscored).rows[0]["rows/dead"] == 0


def test_a_sampler_without_log_probs_cannot_be_the_old_policy(train, settings, rollouts):
    with pytest.raises(ValueError, match=r"--gspo\.old-policy trainer"):
        train(settings(old_policy="sampler"), rollout=rollouts(logprobs=False))


def test_prompts_of_a_group_reach_the_rollout_together(train, settings, rollouts):
    seen = []
    train(settings(generations=1), rollout=changed(rollouts(), lambda out: seen.append(out)))
    groups = [seen[0].prompt_ids[i : i + 4] for i in range(0, 16, 4)]
    assert all(group == [group[0]] * 4 for group in groups)
    assert len({tuple(group[0]) for group in groups}) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_policy_that_does_not_move_has_every_ratio_at_exactly_one(
    train, settings, tiny, dtype, checkpointing
):
    """The old log-probabilities are the same computation, in autocast and checkpointing too."""
    policy = tiny()
    for name, parameter in policy.model.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.to(dtype)
    run = train(
        settings(learning_rate=1e-30, minibatches=4, micro_batch_rows=2, generations=1),
        policy=policy,
        trl_overrides={"gradient_checkpointing": checkpointing},
    )
    assert run.rows[0]["ratio/min"] == run.rows[0]["ratio/max"] == 1.0
    assert run.rows[0]["grad_norm"] > 0
