"""Run a command that ends when its parent does: ``python tether.py PARENT_PID COMMAND...``.

A script of its own, and nothing imported, so that it costs a few milliseconds. Doing this in
``preexec_fn`` instead would run Python between fork and exec in a process full of threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # Survives exec. The signal is the polite one: a worker then hands back its jobs.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the parent ended before its child had started")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
