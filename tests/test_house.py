"""Who may know whom: every import in every room is read and held to the house's rules."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("judges", "rewards", "rl", "experiments")

MUST_NOT_KNOW = {
    "judges": {"rl", "rewards", "experiments", "torch", "transformers", "trl", "peft", "wandb"},
    "rewards": {"rl", "experiments", "httpx", "aiohttp", "trl", "wandb", "torch", "transformers"},
    "rl/gspo": {"judges", "rewards", "httpx", "aiohttp", "wandb"},
    "rl/sft": {"judges", "httpx", "aiohttp", "wandb"},
    "rl/config": {"torch", "trl", "transformers", "numpy", "wandb", "httpx"},
    "rl/launch.py": {"torch", "trl", "transformers", "numpy", "wandb", "httpx"},
    "rl": {"experiments"},
}
# One splitter takes reasoning off, whoever reasoned: the policy or its judge.
KNOWN_TO_ALL = {"rewards.split"}
ONLY_IN = {
    "httpx": {
        "judges/client/http.py",
        "rl/data/papers/pmc.py",
        "experiments/bench/judge_client.py",
    },
    "aiohttp": {
        "judges/client/http.py",
        *("judges/serve/server.py", "judges/serve/misbehave.py"),  # they serve
        "rl/rollout/vllm_client.py",
        "experiments/bench/judge_client.py",
    },
    "wandb": {"rl/run/tracking.py"},
    "vllm": set(),
}


def sources(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            if module not in KNOWN_TO_ALL:
                names.add(module.partition(".")[0])
    return names


@pytest.mark.parametrize("place", MUST_NOT_KNOW)
def test_a_room_does_not_know_what_it_must_not(place):
    for path in sources(place):
        met = imports(path) & MUST_NOT_KNOW[place]
        assert not met, f"{path.relative_to(ROOT)} imports {sorted(met)}"


def test_the_client_knows_no_rubric_and_not_how_a_reply_is_graded():
    known = {
        *("judges.config", "judges.names", "judges.verdict"),
        *("judges.rubric.prompt", "judges.rubric.reasoning"),
    }
    for path in sources("judges/client"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("judges."):
                is_own = (node.module or "").startswith("judges.client.")
                assert is_own or node.module in known, f"{path.name} imports {node.module}"


@pytest.mark.parametrize("package", ONLY_IN)
def test_a_package_with_one_home_stays_there(package):
    at = {
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in sources(room)
        if package in imports(path)
    }
    assert at <= ONLY_IN[package]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_owns(room):
    module = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))
    assert "wns" in (ast.get_docstring(module) or "")


def test_no_file_is_two_rooms():
    long = {
        str(path.relative_to(ROOT)): lines
        for room in (*ROOMS, "tests")
        for path in sources(room)
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
