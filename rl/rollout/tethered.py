"""Run a command that ends when its parent does, also when the parent is killed outright.

    python -m rl.rollout.tethered COMMAND [ARGUMENT ...]

Linux tells a process of its parent's death only if it asks. Where it cannot ask, the parent's own
clean-up has to do.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> None:
    parent = int(os.environ["TETHERED_TO"])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the process this one belongs to is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
