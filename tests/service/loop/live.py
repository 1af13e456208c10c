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
        self.server = LiveServer(folder).until_alive()
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
        parent = self.server.process
        for pid in [*_descendants(parent.pid), parent.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        parent.wait(60)

    def start(self) -> None:
        """Start it again over the same data."""
        self.server = LiveServer(self.folder).until_alive()
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
