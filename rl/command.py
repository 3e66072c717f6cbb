"""From a command line to a command's settings, and its refusals told without a traceback."""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import tyro

from rl.quiet import quiet_libraries
from rl.refusal import Refusal

C = TypeVar("C")


def command(
    settings: type[C],
    work: Callable[[C], None],
    *,
    prog: str,
    description: str | None,
    args: Sequence[str] | None = None,
    kept: str = "nothing was left behind",
) -> NoReturn:
    given = tyro.cli(settings, prog=prog, description=description, args=args)
    quiet_libraries()
    try:
        work(given)
    except Refusal as refusal:
        sys.exit(f"{prog}: {refusal}")
    except KeyboardInterrupt:
        sys.exit(f"{prog}: interrupted; {kept}")
    sys.exit(0)
