"""Keeps one worker process running beside the API: the embedded mode of ``nextround serve``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_TETHER = Path(__file__).with_name("tether.py")
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_PROVEN_S = 60.0


class Supervisor:
    """Starts ``command`` in its own interpreter, so that a CUDA fault cannot take the API down.

    When it ends it is started again, at first at once and then ever more patiently. The child is
    tied to this process on Linux: if this one is killed, the child gets SIGTERM.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        first_wait_s: float = _FIRST_WAIT_S,
    ) -> None:
        self._command = list(command)
        self._env = dict(env) if env is not None else None
        self._first_wait_s = first_wait_s
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None
        # Linux ties a child to the thread that made it, so this thread must outlive the child.
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self.restarts = 0

    @classmethod
    def of_worker(cls, *arguments: str, env: Mapping[str, str] | None = None) -> Supervisor:
        """A supervisor of ``nextround worker ARGUMENTS`` in this very interpreter."""
        return cls([sys.executable, "-m", "service.cli", "worker", *arguments], env=env)

    @property
    def pid(self) -> int | None:
        """The child's process number, if there is a child now."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> None:
        """Start the child and keep it running."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """End the child: politely, and after ``timeout_s`` not so."""
        self._stop.set()
        deadline = time.monotonic() + timeout_s
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
        self._thread.join(timeout=max(0.0, deadline - time.monotonic()))
        child = self._child
        if child is not None and child.poll() is None:
            log.warning("worker did not stop in time and is killed", pid=child.pid)
            child.kill()
        self._thread.join(timeout=5.0)

    def _supervise(self) -> None:
        wait_s = self._first_wait_s
        while not self._stop.is_set():
            began = time.monotonic()
            code = self._run_once()
            if self._stop.is_set():
                return
            if time.monotonic() - began > _PROVEN_S:
                wait_s = self._first_wait_s
            log.warning("worker ended; starting it again", exit_code=code, wait_s=wait_s)
            self._stop.wait(wait_s)
            self.restarts += 1
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _run_once(self) -> int | None:
        tethered = [sys.executable, str(_TETHER), str(os.getpid()), *self._command]
        try:
            child = subprocess.Popen(tethered, env=self._env)  # noqa: S603
        except OSError as error:
            log.error("worker cannot be started", error=str(error))
            return None
        self._child = child
        if self._stop.is_set():
            child.terminate()  # stop() may have looked before there was a child
        return child.wait()
