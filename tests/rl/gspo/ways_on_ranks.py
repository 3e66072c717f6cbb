"""What one process and two are to agree on: trainings, and what rank 0 sees of them."""

from pathlib import Path

import torch

SCENARIOS = {
    "usual": {"missing": 0.2, "logprobs": True},
    "second rank has nothing to learn": {"agree_from_group": 2},
    "nobody has anything to learn": {"agree_from_group": 0},
    "nobody was judged": {"missing": 1.0},
    "the last rank's weights are broken": {},
}


def is_last_rank() -> bool:
    distributed = torch.distributed
    if not distributed.is_initialized():
        return True
    return distributed.get_rank() == distributed.get_world_size() - 1


def run_all(helpers, folder: Path) -> dict:
    seen = {}
    for name, rollout in SCENARIOS.items():
        policy, script = helpers.tiny_policy(), helpers.ScriptedRollout(**rollout)

        def rollout_of_it(prompt_ids, name=name, policy=policy, script=script):
            if "broken" in name and is_last_rank():
                policy.model.get_output_embeddings().weight.data[5] = float("inf")
            return script(prompt_ids)

        run = helpers.build(
            helpers.settings(generations=1, micro_batch_rows=2),
            folder,
            policy=policy,
            rollout=rollout_of_it,
            trl_overrides={"max_grad_norm": 1e9},
        )
        gradients = helpers.keep_gradients(run.trainer)
        run.trainer.train()
        seen[name] = {
            "gradients": gradients,
            "rows": run.rows,
            "advantages": run.advantages,
        }
    return seen
