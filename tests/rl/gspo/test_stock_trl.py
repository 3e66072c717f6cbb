"""Where nothing is dead and nothing is skipped, the update is TRL's to float32 accuracy."""

import pytest
import torch

from rl.gspo.advantages import group_advantages
from rl.gspo.batch import Batch
from rl.gspo.objective import gspo_loss
from rl.gspo.update import score

pytestmark = pytest.mark.slow

pytest.importorskip("trl", minversion="1.16", reason="TRL 1.15 needs Triton for its own head")


def stock_trainer(policy, script, dataset, tmp_path, **changes):
    """TRL's own trainer, given what ours is given: its rollout hook is asked, in the same order."""
    import trl

    def rollout(prompts, trainer):
        generation = script([policy.tokenizer(prompt)["input_ids"] for prompt in prompts])
        return {
            "prompt_ids": generation.prompt_ids,
            "completion_ids": generation.completion_ids,
            "logprobs": generation.logprobs,
            "reward": generation.rewards,
        }

    def reward(prompts, reward, **_):
        return reward

    arguments = {
        "output_dir": str(tmp_path),
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "epsilon": 3e-4,
        "epsilon_high": 4e-4,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "max_grad_norm": 1e9,
        "beta": 0.0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "seed": 0,
        "lr_scheduler_type": "constant",
        "shuffle_dataset": False,
        "weight_decay": 0.0,
    }
    return trl.GRPOTrainer(
        model=policy.model,
        args=trl.GRPOConfig(**{**arguments, **changes}),
        train_dataset=dataset,
        processing_class=policy.tokenizer,
        reward_funcs=reward,
        rollout_func=rollout,
    )


def test_on_policy_gradients_are_stock_trls(
    train, tiny, tmp_path, rollouts, settings, gradients, dataset
):
    ours = train(
        settings(minibatches=1, on_policy=True, generations=1),
        policy=tiny(),
        start=False,
        trl_overrides={"max_grad_norm": 1e9},
    ).trainer
    mine = gradients(ours)
    ours.train()
    stock = stock_trainer(tiny(), rollouts(), dataset, tmp_path, max_steps=1)
    theirs = gradients(stock)
    stock.train()
    assert mine[0].norm() > 1e-3
    torch.testing.assert_close(mine[0], theirs[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("aggregation", ["sequence", "dr_grpo"])
def test_off_policy_loss_and_gradient_are_stock_trls(
    aggregation, train, tiny, tmp_path, rollouts, gradients, dataset
):
    policy = tiny()
    train(policy=policy, start=False)
    loss_type = {"sequence": "grpo", "dr_grpo": "dr_grpo"}[aggregation]
    stock = stock_trainer(tiny(), rollouts(), dataset, tmp_path, loss_type=loss_type)
    stock.model.train()
    stock.current_gradient_accumulation_steps = 1
    inputs = stock._generate_and_score_completions(
        [{"prompt": dataset[i // 4]["prompt"]} for i in range(16)]
    )
    batch = Batch.of(
        [
            r[m.bool()].tolist()
            for r, m in zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True)
        ],
        [
            r[m.bool()].tolist()
            for r, m in zip(inputs["completion_ids"], inputs["completion_mask"], strict=True)
        ],
        None,
        torch.device("cpu"),
    )
    logps_BT, _ = score(policy.model, batch)
    noise = 1e-3 * torch.randn(logps_BT.shape, generator=torch.Generator().manual_seed(0))
    old_logps_BT = logps_BT.detach() + noise
    advantages_B = inputs["advantages"]
    out = gspo_loss(
        logps_BT,
        old_logps_BT,
        advantages_B,
        batch.mask_BT(8),
        clip_low=3e-4,
        clip_high=4e-4,
        aggregation=aggregation,
        max_length=8,
    )
    assert 0 < out.clipped_B.sum() < 16
    out.loss.backward()
    theirs = stock._compute_loss(stock.model, inputs | {"old_per_token_logps": old_logps_BT})
    theirs.backward()
    torch.testing.assert_close(out.loss, theirs, rtol=1e-5, atol=1e-7)
    for (name, mine), (_, other) in zip(
        policy.model.named_parameters(), stock.model.named_parameters(), strict=True
    ):
        if mine.requires_grad:
            torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-7, msg=name)


def test_advantages_are_stock_trls(tmp_path, tiny, rollouts, dataset):
    rollout = rollouts()
    for scale in ("group", "batch", "none"):
        stock = stock_trainer(tiny(), rollout, dataset, tmp_path, scale_rewards=scale)
        stock.model.train()
        rows = [{"prompt": dataset[i // 4]["prompt"]} for i in range(16)]
        theirs = stock._generate_and_score_completions(rows)["advantages"]
        rewards = torch.tensor([row["reward"] for row in rows]).view(4, 4)
        mine = group_advantages(rewards, scale=scale).advantages_GK.flatten()
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
