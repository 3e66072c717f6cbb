"""`python -m judges COMMAND`: a thin table; each command's module has `main(args) -> exit code`."""

import importlib
import sys

from judges.names import did_you_mean

COMMANDS = {
    "score": ("judges.commands.score", "verdicts for a JSONL of questions, truths and answers"),
    "preflight": ("judges.commands.preflight", "calls, tokens, money and hours, beforehand"),
    "calibrate": ("judges.trust.calibrate", "how far a judge agrees with people"),
    "fit": ("judges.fit.fit", "the best way to ask a judge, as a profile"),
    "pairwise": ("judges.pairwise.command", "whose answers are better, blind, in both orders"),
    "axes": ("judges.axes.command", "what answers are worth, from 1 to 5 on several axes"),
    "redteam": ("judges.trust.redteam", "whether a judge can be fooled"),
    "serve": ("judges.serve.server", "start the embedded rule judge"),
}


def usage() -> str:
    lines = [f"  {name:10} {about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join(["usage: python -m judges COMMAND [--help]", "", *lines])


def main(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        print(f"unknown command {name!r}.{hint}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(COMMANDS[name][0]).main(rest)
    except KeyboardInterrupt:
        print("interrupted; nothing was judged", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
