"""Run a command that ends when its parent does, also when the parent is killed outright.

    python -m rl.rollout.tethered COMMAND [ARGUMENT ...]

Stays beside the command, in the same process group, and takes the whole group down: processes that
the command has started are not left behind. Linux tells a process of its parent's death only if it
asks; where it cannot ask, the parent's own clean-up has to do.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1
GRACE_S = 10.0


class _Told(Exception):
    """To end, by the parent or by its death."""


def main(command: list[str]) -> None:
    signal.signal(signal.SIGTERM, _tell)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(os.environ["TETHERED_TO"]):
        sys.exit("the process this one belongs to is gone")
    child = None
    try:  # from here on, since the word may come before the command has even started
        child = subprocess.Popen(command)
        sys.exit(child.wait())
    except _Told:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        if child:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)
        os.killpg(0, signal.SIGKILL)


def _tell(*_: object) -> NoReturn:
    raise _Told


if __name__ == "__main__":
    main(sys.argv[1:])
