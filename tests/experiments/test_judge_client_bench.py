"""The judge client's benchmark, small: what it prints is there, and nothing is lost."""

import json
import subprocess
import sys

import pytest

from experiments.bench.judge_client import compare, stub

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url():
    with stub() as url:
        yield url


def test_it_compares_ours_with_what_is_installed_and_loses_nothing(url):
    result = compare(url, levels=(4,), rounds={"ours": 1, "aiohttp": 1, "not_installed": 1})
    assert result["lost"] == 0
    assert result["ours_us"]["4"] > 0
    assert result["aiohttp_us"]["4"] > 0
    assert result["openai_us"] is None
    # The stub takes 0.2 s in the median, so that 4 in flight are about 20 a second.
    assert 0 < result["rps_4"] < 40
    assert 0 < result["aiohttp_rps_4"] < 40


def test_one_arm_alone_prints_cpu_wall_and_lost(url):
    command = [sys.executable, "-m", "experiments.bench.judge_client", "--arm", "httpx"]
    output = subprocess.run(
        [*command, "--url", url, "--in-flight", "4"], check=True, capture_output=True, text=True
    ).stdout
    cpu_s, wall_s, lost = json.loads(output.splitlines()[-1])
    assert 0 < cpu_s < wall_s
    assert lost == 0
