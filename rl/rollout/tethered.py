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

PR_SET_PDEATHSIG = 1
GRACE_S = 10.0


def main(command: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGCHLD, lambda *_: None)  # or its default action would discard it
    # Blocked and waited for, never handled: the parent's threads die one by one, each with a word
    # of it, and no word may interrupt what an earlier one began.
    words = {signal.SIGTERM, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, words)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(os.environ["TETHERED_TO"]):
        sys.exit("the process this one belongs to is gone")
    child = subprocess.Popen(
        command, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)
    )
    while signal.sigwait(words) == signal.SIGCHLD:
        if child.poll() is not None:
            sys.exit(child.returncode)
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
