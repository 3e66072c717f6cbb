"""The benchmark runs, says what it must, and what it calls exact is."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("trl", minversion="1.16", reason="TRL 1.15 needs Triton for its own head")


def test_the_update_is_faster_than_stock_with_the_same_gradient():
    command = [sys.executable, "-m", "experiments.bench.update"]
    sizes = ["--layers", "1", "--prompts", "4", "--longest", "48", "--micro-batch-rows", "2"]
    ran = subprocess.run(command + sizes, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    result = json.loads(ran.stdout.splitlines()[-1])
    assert {"speedup", "speedup_by_trick", "peak_mb", "peak_mb_trl"} <= result.keys()
    assert result["grad_rel_err"] < 1e-5
    assert result["grad_cosine"] > 1 - 1e-9
    assert all(error < 1e-5 for error in result["grad_rel_err_by_trick"].values())
    assert result["clip_seq"] > 0
    assert result["speedup"] > 1.5
