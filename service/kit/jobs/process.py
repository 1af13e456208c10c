"""Telling for certain whether a process of this machine is still alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_UNKNOWN = "unknown"


def host_name() -> str:
    """The name under which this machine appears in leases."""
    return socket.gethostname()


def identify(pid: int | None = None) -> str:
    """Boot, process namespace, number and start of a process, or "unknown" without /proc.

    The number alone is not enough: it is reused, and each container counts from one.
    """
    pid = os.getpid() if pid is None else pid
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
        # The command may contain spaces and brackets; the start time is the 20th field after it.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return _UNKNOWN
    return f"{boot} {namespace} {pid} {started}"


def is_certainly_dead(identity: str) -> bool:
    """Whether the process was one of this machine (and container) and has ended.

    False when it lives, and also when that cannot be seen from here.
    """
    theirs, mine = identity.split(" "), identify().split(" ")
    if len(theirs) != 4 or theirs[:2] != mine[:2]:
        return False
    pid = int(theirs[2])
    return identify(pid) != identity or _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    # Ended, but its parent has not looked yet.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True
