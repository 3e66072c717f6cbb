"""What a command line costs to read: CPU seconds of a process, medians of interleaved runs.

python -m experiments.bench.startup
"""

import json
import resource
import subprocess
import sys
from statistics import median

COMMANDS = {
    "python": ["-c", "pass"],
    "help": ["-m", "experiments.quickstart", "--help"],
    "dry_run": ["-m", "experiments.quickstart", "--dry-run"],
    "import_torch": ["-c", "import torch"],
}
RUNS = 5


def cpu_s(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    taken_s: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            taken_s[name].append(cpu_s(arguments))
    print(json.dumps({f"{name}_cpu_s": round(median(each), 3) for name, each in taken_s.items()}))


if __name__ == "__main__":
    main()
