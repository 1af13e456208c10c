"""The service as a child process: started, waited for, given a key, and always stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from service.demo.labs import DemoError

LOG_NAME = "demo-service.log"
_HOST = "127.0.0.1"
_READY_WITHIN_S = 120.0
_STOPS_WITHIN_S = 45.0
_LOOK_EVERY_S = 0.2
_LOG_LINES = 15
_SCOPES = (
    "read",
    "compounds:write",
    "cell-lines:write",
    "campaigns:write",
    "measurements:write",
    "models:run",
    "batches:write",
)


class ServiceChild:
    """``nextround serve`` over ``data_dir``, for as long as the ``with`` block lasts.

    The child has a process group of its own, so that Ctrl-C reaches the demo alone, which then
    stops the child in good order. Its log is a file in ``data_dir``.
    """

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self.data_dir = data_dir
        self.port = _usable_port(port)
        self.url = f"http://{_HOST}:{self.port}"
        self.log = data_dir / LOG_NAME
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ServiceChild:
        self._start()
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The child's process number while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def create_key(self) -> str:
        """A key that may do what the demo does and nothing more."""
        scopes = [word for scope in _SCOPES for word in ("--scope", scope)]
        command = ["keys", "create", "--name", "nextround demo", *scopes, *self._where]
        done = subprocess.run(  # noqa: S603
            _nextround(command), env=_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoError(f"no key could be made: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def stop(self) -> None:
        """End the child and wait for it; calling it again does no harm."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_STOPS_WITHIN_S)
        except BaseException as error:  # too slow, or a second Ctrl-C: no more patience
            _kill(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    @property
    def _where(self) -> list[str]:
        return ["--data-dir", str(self.data_dir)]

    def _start(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        # The log shows the first key of the workspace: for its owner's eyes.
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                _nextround(["serve", "--host", _HOST, "--port", str(self.port), *self._where]),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        missing = "it does not answer"
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise DemoError(f"The service ended while it started.\n{self._tail()}")
            missing = _what_is_missing(self.url)
            if not missing:
                return
            time.sleep(_LOOK_EVERY_S)
        waited = f"The service was not ready after {_READY_WITHIN_S:.0f} s: {missing}."
        raise DemoError(f"{waited}\n{self._tail()}")

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(["The end of its log:", *(f"  {line}" for line in lines)])


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child and everything that it started, at once."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _nextround(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "service.cli", *arguments]


def _environment() -> dict[str, str]:
    """Ours, without settings that would lead the demo into somebody's real database."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("NEXTROUND_") or name == "NEXTROUND_DEVICE"
    }


def _usable_port(port: int) -> int:
    """``port``, or a free one for 0. A port in use would let us talk to another service."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise DemoError(
                f"Port {port} cannot be used ({reason}). Leave --port out for a free one."
            ) from None
        return int(probe.getsockname()[1])


def _what_is_missing(url: str) -> str:
    """The checks of ``/readyz`` that fail, in words; empty when the service is ready."""
    try:
        answer = httpx2.get(f"{url}/readyz", timeout=5.0, trust_env=False)
    except httpx2.TransportError:
        return "it does not answer"
    if answer.status_code == 200:
        return ""
    try:
        checks: list[dict[str, Any]] = answer.json()["checks"]
    except (ValueError, KeyError, TypeError):
        return f"/readyz answered {answer.status_code}"
    return "; ".join(check["detail"] for check in checks if not check["ok"])
