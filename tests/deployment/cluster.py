"""Two API processes and workers on one PostgreSQL, started by hand as on several machines."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from tests.contract.live import LiveServer
from tests.deployment.commands import command, environment, nextround

Value = TypeVar("Value")
PATIENCE_S = 150.0
COMPOUNDS = [f"Compound {number}" for number in range(10)]
CELL_LINES = ["A375", "MCF7"]
DOSES_UM = [0.1, 1.0, 10.0]


def until(look: Callable[[], Value], what: str, every_s: float = 0.05) -> Value:
    """Wait until ``look`` finds something; a test fails with ``what`` rather than hanging."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < give_up_at, f"waited in vain for: {what}"
        time.sleep(every_s)
    return found


class Worker:
    """``nextround worker --name NAME``, which can be killed."""

    def __init__(self, folder: Path, name: str, settings: dict[str, object]) -> None:
        self.name = name
        self.log = folder / f"worker-{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command("worker", "--name", name),
                cwd=folder,
                env=environment(folder / name, **settings),
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """As the power switch does it: no clean-up, no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()


class Cluster:
    """Everything that runs, and one lab that uses it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.settings: dict[str, object] = {
            "database_url": database_url,
            "artifacts_url": folder / "artifacts",
            "lease_s": 6,
            "reap_every_s": 0.5,
            "job_poll_s": 0.1,
        }
        done = nextround(folder, "migrate", **self.settings)
        found = re.search(r"nr_\w{26}_\w{64}", done.stdout)
        assert found, done.stdout + done.stderr
        self.headers = {"Authorization": f"Bearer {found[0]}"}
        self.apis: list[LiveServer] = []
        self.clients: list[httpx2.Client] = []
        self.workers: list[Worker] = []

    def start_api(self, name: str) -> None:
        """Start another API process and wait until it answers."""
        folder = self.folder / name
        folder.mkdir()
        self.apis.append(LiveServer(folder, "--no-worker", **self.settings))
        url = self.apis[-1].until_alive().url
        self.clients.append(httpx2.Client(base_url=url, headers=self.headers, timeout=30))

    def start_worker(self, name: str) -> Worker:
        """Start a worker and wait until both API processes know it."""
        self.workers.append(Worker(self.folder, name, self.settings))
        for client in self.clients:
            until(lambda client=client: f"{name} on cpu" in client.get("/readyz").text, name)
        return self.workers[-1]

    def worker(self, name: str) -> Worker:
        return next(worker for worker in self.workers if worker.name == name)

    def ok(self, api: int, method: str, path: str, **more: Any) -> Any:
        """The JSON that API process number ``api`` answers; it must be a success."""
        answer = self.clients[api].request(method, path, **more)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def until_job(self, job: str, wanted: Callable[[Any], bool], what: str) -> Any:
        """The job, as the second API process sees it, once it is as ``wanted``."""

        def look() -> Any:
            seen = self.ok(1, "GET", f"/v1/jobs/{job}")
            assert seen["status"] != "failed", seen["problem"]
            return seen if wanted(seen) else None

        return until(look, what)

    def measured_campaign(self) -> str:
        """A campaign with enough measurements for a model to be fitted; through the first API."""
        self.ok(0, "POST", "/v1/compounds", json={"compounds": [{"name": n} for n in COMPOUNDS]})
        self.ok(0, "POST", "/v1/cell-lines", json={"cell_lines": [{"name": n} for n in CELL_LINES]})
        body = {"name": "Cluster", "compounds": COMPOUNDS, "cell_lines": CELL_LINES}
        # The network alone, and not "auto": a training that lasts long enough to be disturbed.
        learning = {"learning": {"model": "bnn_gaussian"}}
        limits = {"doses_um": DOSES_UM, "limits": {"batch_size": 5}, **learning}
        campaign = self.ok(0, "POST", "/v1/campaigns", json={**body, **limits})["id"]
        path, headers = f"/v1/campaigns/{campaign}/submissions", {"Content-Type": "text/csv"}
        self.ok(0, "POST", path, content=_table(), headers=headers)
        return str(campaign)

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        for worker in self.workers:
            worker.stop()
        for api in self.apis:
            api.stop()


def _table() -> str:
    """Single agents and forty blocks of two compounds, some of them synergistic."""
    lines = ["cell_line,compound_1,dose_1_um,compound_2,dose_2_um,viability_fraction"]
    numbers = range(len(COMPOUNDS))
    for line, i, dose in itertools.product(CELL_LINES, numbers, DOSES_UM):
        lines.append(f"{line},{COMPOUNDS[i]},{dose},,,{_viability(i, dose):.4f}")
    pairs = list(itertools.combinations(numbers, 2))[:20]
    for line, (i, j) in itertools.product(CELL_LINES, pairs):
        for a, b in itertools.product(DOSES_UM, DOSES_UM):
            both = _viability(i, a) * _viability(j, b) * (0.8 if (i + j) % 3 == 0 else 1.0)
            lines.append(f"{line},{COMPOUNDS[i]},{a},{COMPOUNDS[j]},{b},{both:.4f}")
    return "\n".join(lines)


def _viability(compound: int, dose_um: float) -> float:
    return 1 / (1 + (dose_um / (0.5 + compound)) ** 1.2)
