"""The ways of a room, gone by one process and by two of `accelerate launch`: what rank 0 saw."""

import importlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]


def seen_by_one_and_two(room: str, folder: Path) -> tuple[dict, dict]:
    """What one process, this one, and two of their own see of the same ways."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += "--num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no".split()
    command += ["--main_process_port", str(port), "--module", "tests.rl.on_ranks"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    launched = subprocess.run(
        [*command, room, str(folder / "two.pt")],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "1",
            "PYTHONPATH": os.pathsep.join(paths),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-4000:]
    two = torch.load(folder / "two.pt", weights_only=False)
    return _seen(room, folder / "one"), two


def _seen(room: str, folder: Path) -> dict:
    ways, helpers = (
        importlib.import_module(f"tests.rl.{room}.{name}") for name in ("ways_on_ranks", "conftest")
    )
    return ways.run_all(helpers, folder)


if __name__ == "__main__":
    room, out = sys.argv[1], Path(sys.argv[2])
    seen = _seen(room, out.parent)
    if torch.distributed.get_rank() == 0:
        assert torch.distributed.get_world_size() == 2
        torch.save(seen, out)
    torch.distributed.destroy_process_group()
