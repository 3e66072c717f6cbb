"""Two gloo processes take the step that one takes, and say the same about it."""

import importlib.util
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ranks")]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(f"gspo_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes",
            "2",
        ),
        *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
        *("--main_process_port", str(port), str(HERE / "run_on_ranks.py"), str(folder / "two.pt")),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    launched = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert launched.returncode == 0, launched.stderr[-4000:]
    two = torch.load(folder / "two.pt", weights_only=False)
    one = load("run_on_ranks").run_all(load("conftest"), folder)
    return one, two


@pytest.mark.parametrize("scenario", ["usual", "second rank has nothing to learn"])
def test_two_ranks_have_the_gradient_of_one(one_and_two, scenario):
    one, two = (seen[scenario]["gradients"] for seen in one_and_two)
    assert len(one) == len(two) == 2
    assert one[0].norm() > 1e-3
    torch.testing.assert_close(two[0], one[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "scenario", ["usual", "second rank has nothing to learn", "nobody was judged"]
)
def test_two_ranks_report_the_metrics_of_one(one_and_two, scenario):
    one, two = (seen[scenario]["rows"][0] for seen in one_and_two)
    assert one.keys() == two.keys() or {*one} ^ {*two} <= {"kl/ref"}
    # The reference is probed on rows of each rank's own choice; a policy at its start has none.
    for name in one.keys() - {"time/update_s", "kl/ref", "ratio/histogram"}:
        assert two[name] == pytest.approx(one[name], rel=2e-3, abs=1e-5), name
    assert one_and_two[0][scenario]["advantages"] == one_and_two[1][scenario]["advantages"]


@pytest.mark.parametrize("scenario", ["nobody has anything to learn", "nobody was judged"])
def test_ranks_without_a_signal_neither_move_nor_hang(one_and_two, scenario):
    for seen in one_and_two:
        assert seen[scenario]["gradients"] == [None, None]
        assert seen[scenario]["rows"][0]["grad_norm"] == 0
        assert math.isfinite(seen[scenario]["rows"][0]["time/update_s"])


def test_what_breaks_in_one_rank_is_refused_in_all(one_and_two):
    for seen in one_and_two:
        broken = seen["the last rank's weights are broken"]
        assert broken["gradients"] == [None]
        assert "the loss of optimizer step 1 is not finite" in broken["rows"][0]["stop_reason"]
