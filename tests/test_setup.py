"""What `make setup` says where it cannot work. The Python here only pretends to install."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def setup(tmp_path):
    """Run the script with a Python that answers as told, on a disk with `free_mb` left."""

    def run(answers: str = "", *, free_mb: int = 100_000) -> subprocess.CompletedProcess[str]:
        (tmp_path / ".venv" / "bin").mkdir(parents=True)
        for place in (tmp_path / "python", tmp_path / ".venv" / "bin" / "python"):
            place.write_text(
                f'#!/bin/sh\ncase "$*" in\n{answers}\n*version_info*) echo 3.12;;\nesac'
            )
            place.chmod(0o755)
        df = tmp_path / "df"
        df.write_text(f"#!/bin/sh\necho head; echo disk 1 2 {free_mb} 4")
        df.chmod(0o755)
        env = {"PYTHON": str(tmp_path / "python"), "VENV": str(tmp_path / ".venv"), "GPU": "0"}
        return subprocess.run(
            ["sh", "locks/setup.sh"],
            cwd=ROOT,
            env=os.environ | env | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
        )

    return run


def test_a_python_that_is_too_old_is_refused_by_name(setup):
    done = setup("*version_info*) echo 3.9;;")
    assert done.returncode == 1
    assert "Python 3.9 is not supported" in done.stderr


def test_a_disk_too_small_is_refused_before_anything_is_made(setup):
    done = setup(free_mb=3000)
    assert done.returncode == 1
    assert "3000 MB are free here, and the packages need 4000 MB" in done.stderr


def test_the_cpu_build_of_torch_is_asked_for_first(setup):
    done = setup("*--dry-run*) echo nvidia-cudnn-cu13;;")
    assert done.returncode == 0
    assert "CUDA" not in done.stderr


CUDA_BUILD_ALONE = (
    '*--torch-backend=cpu*) exit 1;;\n*--dry-run*) echo \'{"name": "nvidia-cudnn-cu13"}\';;'
)


def test_where_only_a_cuda_build_is_within_reach_its_size_is_said(setup):
    done = setup(CUDA_BUILD_ALONE)
    assert done.returncode == 0
    assert "taking the CUDA build, which is 3 GB larger" in done.stderr


def test_a_cpu_build_that_only_speaks_of_gpus_is_not_taken_for_the_cuda_build(setup):
    about = '{"name": "torch", "description": "https://nvidia.com"}'
    done = setup(f"*--torch-backend=cpu*) exit 1;;\n*--dry-run*) echo '{about}';;", free_mb=5000)
    assert done.returncode == 0
    assert "CUDA" not in done.stderr


def test_where_the_cuda_build_does_not_fit_it_is_not_begun(setup):
    done = setup(CUDA_BUILD_ALONE, free_mb=5000)
    assert done.returncode == 1
    assert "needs 10000 MB" in done.stderr


@pytest.mark.parametrize("package", ["torch", "vllm"])
def test_a_package_that_was_installed_and_does_not_start_is_a_sentence(setup, package):
    done = setup(f"*'import {package}'*) echo 'libcudnn.so.9: cannot open' >&2; exit 1;;")
    assert done.returncode == 1
    assert f"'import {package}" in done.stderr
    assert "fails: libcudnn.so.9: cannot open" in done.stderr
    assert "Traceback" not in done.stderr
