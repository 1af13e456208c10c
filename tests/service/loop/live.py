"""The service as an operator has it: processes that can be killed and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.client import Nextround
from tests.contract.live import LiveServer


class Service:
    """One installation, whichever process serves it just now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = _alive(folder)
        self.key = self.server.keys_shown[0]
        self.restarts = 0

    @property
    def url(self) -> str:
        return self.server.url

    @contextmanager
    def client(self) -> Iterator[Nextround]:
        """The API, at its present address."""
        with Nextround(self.url, self.key, pause_s=0.05) as lab:
            yield lab

    def kill(self) -> None:
        """API and worker end in the middle of whatever they do."""
        _kill(self.server)

    def start(self) -> None:
        """Start it again over the same data."""
        self.server = _alive(self.folder)
        self.restarts += 1

    def restart(self) -> None:
        """Killed and started."""
        self.kill()
        self.start()


def _descendants(pid: int) -> list[int]:
    """Children and theirs, the youngest first."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError):
            for child in path.read_text().split():
                found += [*_descendants(int(child)), int(child)]
    return found


def _alive(folder: Path) -> LiveServer:
    """A process that answers; one that does not is not left behind."""
    server = LiveServer(folder)
    try:
        return server.until_alive()
    except BaseException:
        _kill(server)
        raise


def _kill(server: LiveServer) -> None:
    for pid in [*_descendants(server.process.pid), server.process.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.process.wait(60)
