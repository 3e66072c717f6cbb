"""`python -m rl.report RUN` builds RUN/report.html again; without RUN, that of the newest run."""

import sys
from pathlib import Path

from rl.report import write_report
from rl.run.folder import newest_run


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(__doc__)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        print(write_report(Path(arguments[0]) if arguments else newest_run()))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
