"""A real ``nextround serve`` for a benchmark, and an HTTP client for it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Running:
    """A service that answers, its process and a key."""

    port: int
    key: str
    process: subprocess.Popen[bytes]
    log: Path

    def call(self, method, path, body=None, content_type="application/json"):
        """One request on a connection of its own; returns (status, parsed body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type}
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        connection.request(method, path, body=data, headers=headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:500]!r}")
        return response.status, json.loads(content)

    def fetch(self, path):
        """The body of a GET, whatever it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"GET {path}: {response.status} {content[:500]!r}")
        return content

    def finish(self, job):
        """Wait for a job; returns it as it ended."""
        while job["status"] in ("queued", "running"):
            job = self.call("GET", f"/v1/jobs/{job['id']}?wait=30")[1]
        if job["status"] != "succeeded":
            last = self.log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"job {job['status']}: {job['problem']}\n{last}")
        return job

    def processes(self):
        """Process numbers of the service and its children."""
        found = [self.process.pid]
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            parent = re.search(r"^PPid:\s+(\d+)$", text, re.M)
            if parent and int(parent[1]) in found:
                found.append(int(status.parent.name))
        return found


def resident_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process now (``VmRSS``) or at its highest (``VmHWM``)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) / 1024


@contextmanager
def running_service(*options: str) -> Iterator[Running]:
    """Start the service on an empty folder; stop it at the end."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        log = open(Path(folder) / "log", "w+b")  # noqa: SIM115 - the child's, for its life
        command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
        process = subprocess.Popen(
            [*command, "--data-dir", f"{folder}/data", *options], stdout=log, stderr=log
        )
        try:
            key = _wait_for_key(Path(folder) / "log", process)
            running = Running(port, key, process, Path(folder) / "log")
            _wait_until_ready(running)
            yield running
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_key(log: Path, process) -> str:
    for _ in range(600):
        found = re.search(r"nr_[0-9a-z]{26}_[0-9a-f]{64}", log.read_text(errors="replace"))
        if found:
            return found[0]
        if process.poll() is not None:
            raise RuntimeError(log.read_text(errors="replace"))
        time.sleep(0.1)
    raise RuntimeError("the service did not start")


def _wait_until_ready(running: Running) -> None:
    for _ in range(600):
        try:
            running.call("GET", "/readyz")
            return
        except (OSError, RuntimeError):
            time.sleep(0.1)
    raise RuntimeError("the service did not become ready")


if os.name == "nt":
    raise SystemExit("the service benchmarks read /proc and need Linux")
