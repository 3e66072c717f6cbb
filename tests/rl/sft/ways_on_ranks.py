"""What one process and two are to agree on: learning in a few ways, and what rank 0 sees of it."""

from pathlib import Path

WAYS = {
    "rows": {"micro_batch_rows": 2},
    "packs": {"packing": True, "micro_batch_rows": 1, "batch_rows": 2, "max_tokens": 40},
}


def run_all(helpers, folder: Path) -> dict:
    seen = {}
    for name, changes in WAYS.items():
        run = helpers.build(
            folder / name,
            helpers.settings(steps=3, **changes),
            rows=helpers.token_rows(30),
            heldout=helpers.token_rows(5, seed=9),
            evaluate_every=2,
            trl_overrides={"max_grad_norm": 1e9},
        )
        run.trainer.train()
        trained = [p for p in run.policy.model.parameters() if p.requires_grad]
        seen[name] = {
            "gradients": run.gradients,
            "rows": run.rows,
            "weights": helpers.flat(trained),
        }
    return seen
