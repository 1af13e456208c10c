"""A worker process for tests: ``python job_worker.py NAME``, and how to start and hurt one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE_S = 90.0
ROOT = Path(__file__).parents[4]


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait for ``condition``; a test fails with ``what`` rather than hanging."""
    give_up_at = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up_at:
            raise AssertionError(f"waited {patience_s:.0f} s in vain for: {what}")
        time.sleep(0.02)


class WorkerProcess:
    """A worker that can be killed, stopped and continued."""

    def __init__(self, settings: Any, name: str, log: Path) -> None:
        self.log = log
        values = {
            key: str(getattr(settings, key))
            for key in (
                "data_dir",
                "database_url",
                "artifacts_url",
                "job_poll_s",
                "lease_s",
                "reap_every_s",
                "retention_days",
            )
        }
        env = os.environ | {f"NEXTROUND_{key.upper()}": value for key, value in values.items()}
        env["PYTHONPATH"] = str(ROOT)
        self._file = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, __file__, name], env=env, stdout=self._file, stderr=self._file
        )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def until_ready(self) -> WorkerProcess:
        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"worker ended with {self.process.returncode}: {self.output}")
            return "READY" in self.output

        until(ready, "worker ready")
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(timeout=PATIENCE_S)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=PATIENCE_S)
        self._file.close()


def main() -> int:
    import job_handlers  # noqa: F401

    from service.kit.jobs import run_worker
    from service.settings import Settings

    def ready(_engine: object) -> None:
        print("READY", flush=True)

    return run_worker(Settings(), device="cpu", name=sys.argv[1], ready=ready)


if __name__ == "__main__":
    sys.exit(main())
