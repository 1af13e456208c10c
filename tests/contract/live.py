"""``nextround serve`` as a child process, and what a test may ask about it from outside."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
_KEY = re.compile(r"nr_\w{26}_\w{64}")


class LiveServer:
    """The service on a free port of this machine, with an SQLite database of its own."""

    def __init__(self, folder: Path, *arguments: str, **settings: object) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "serve.log"
        env = {**os.environ, "PYTHONPATH": str(ROOT), "NEXTROUND_DATA_DIR": str(folder / "data")}
        env |= {f"NEXTROUND_{name.upper()}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "service.cli", "serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], cwd=folder, env=env, stdout=log, stderr=log
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def keys_shown(self) -> list[str]:
        """Every API key that the process ever printed."""
        return _KEY.findall(self.output)

    @property
    def database(self) -> Path:
        return self.folder / "data" / "nextround.db"

    def until_alive(self) -> LiveServer:
        """Wait until it answers; fail with its output if it ends."""
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.is_alive():
            assert self.process.poll() is None, f"serve ended: {self.output}"
            assert time.monotonic() < give_up_at, f"serve does not answer: {self.output}"
            time.sleep(0.05)
        return self

    def until_ready(self) -> LiveServer:
        """Wait until it has a worker, too."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self._asked("/readyz") != 200:
            assert time.monotonic() < give_up_at, f"no worker: {self.output}"
            time.sleep(0.2)
        return self

    def is_alive(self) -> bool:
        return self._asked("/livez") == 200

    def _asked(self, path: str) -> int:
        """The status of a GET, 0 where nobody answers."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def memory_mib(self) -> float:
        """The most memory that the process has held so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def row_counts(self) -> dict[str, int]:
        """How many rows there are in every table."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            counts = {}
            for (name,) in rows.fetchall():
                (counts[name],) = connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()
            return counts

    def stop(self) -> int:
        """End it as an operator would; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextmanager
def serving(folder: Path, *arguments: str, **settings: object) -> Iterator[LiveServer]:
    """A live server for the length of a block."""
    server = LiveServer(folder, *arguments, **settings)
    try:
        yield server.until_alive()
    finally:
        server.stop()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
