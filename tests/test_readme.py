"""Every command the README shows that this machine can run is run; every file it names exists."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.S)
    for line in block.splitlines()
]
NEEDS_A_KEY = [line for line in COMMANDS if line.rstrip().endswith(("# key", "# a server"))]
NEEDS_A_CUT = [line for line in COMMANDS if line.endswith("# a run that was cut short")]
ELSEWHERE = [*NEEDS_A_KEY, *NEEDS_A_CUT, "make test"]
RUNS = [command for command in COMMANDS if command not in ELSEWHERE]
# What a command of the README trains, but smaller; a command's own flags come later and win.
SMALL = (
    "--gspo.generations 1 --gspo.prompts 2 --gspo.group-size 4 --gspo.micro-batch-rows 4 "
    "--data.heldout-rows 4 --rollout.max-new-tokens 8 --rollout.engine transformers"
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The tracked files in another place: runs land there, and nothing untracked is leaned on."""
    folder = tmp_path_factory.mktemp("clone")
    files = subprocess.run(
        ["git", "ls-files", "--cached"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    here = Path(sys.executable).parent
    command = re.sub(r'^make (\w+) ARGS="', rf'make \1 ARGS="{SMALL} ', command)
    command = re.sub(r"^make (\w+)", rf"make \1 VENV={here.parent} READY=", command)
    # what was said to the make that runs this test is not meant for the make in the command
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "WANDB_SERVICE", "WANDB__"))
    }
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=env | {"ARGS": SMALL, "PATH": f"{here}:{env['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_the_commands_of_the_readme_run_in_their_order(clone):
    assert RUNS[0] == "make quickstart"
    for command in RUNS:
        done = run(command, clone)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_only_what_needs_a_key_or_a_cut_or_is_this_test_is_left_out():
    assert all("judge" in command or "KEY" in command for command in NEEDS_A_KEY)
    assert all("--resume" in command for command in NEEDS_A_CUT)
    assert len(RUNS) + len(ELSEWHERE) == len(COMMANDS)


def test_every_link_and_every_file_named_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
