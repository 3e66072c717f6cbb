"""Started by `accelerate launch`: learns in a few ways and writes what rank 0 saw to a file."""

import importlib.util
import sys
from pathlib import Path

import torch

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


if __name__ == "__main__":
    where = Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("sft_helpers", where)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    out = Path(sys.argv[1])
    seen = run_all(module, out.parent)
    if torch.distributed.get_rank() == 0:
        assert torch.distributed.get_world_size() == 2
        torch.save(seen, out)
    torch.distributed.destroy_process_group()
