"""Two gloo processes take the steps that one takes, and measure the same."""

import importlib.util
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
    spec = importlib.util.spec_from_file_location(f"sft_{name}", HERE / f"{name}.py")
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
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += "--num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no".split()
    command += ["--main_process_port", str(port), str(HERE / "run_on_ranks.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    launched = subprocess.run(
        [*command, str(folder / "two.pt")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert launched.returncode == 0, launched.stderr[-4000:]
    two = torch.load(folder / "two.pt", weights_only=False)
    one = load("run_on_ranks").run_all(load("conftest"), folder / "one")
    return one, two


@pytest.mark.parametrize("way", ["rows", "packs"])
def test_two_ranks_learn_what_one_learns(one_and_two, way):
    one, two = (seen[way] for seen in one_and_two)
    assert len(one["gradients"]) == len(two["gradients"]) == 3
    assert one["gradients"][0].norm() > 1e-2
    for ours, theirs in zip(two["gradients"], one["gradients"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(two["weights"], one["weights"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", ["rows", "packs"])
def test_two_ranks_report_what_one_reports(one_and_two, way):
    one, two = (seen[way]["rows"] for seen in one_and_two)
    for ours, theirs in zip(two, one, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"tokens_per_s"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-5), name
