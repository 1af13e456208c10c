"""The README tells the truth: its walk-through is run as it stands, its links lead somewhere."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.generate import FOLDER, files

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def walk_through() -> str:
    """The shell commands of the README, in one piece."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", README, re.M | re.S)
    assert len(blocks) == 1
    return blocks[0]


def test_example_files_are_what_the_generator_makes() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == files()


@pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
)
def test_links_lead_to_files(document: str) -> None:
    path = ROOT / document
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []


@pytest.fixture
def service_port(tmp_path: Path) -> Iterator[int]:
    """`nextround serve` on an empty folder, as the README starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(tmp_path / "my-lab")], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        _wait_until_ready(port, process, tmp_path / "log")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(log.read_text())


@pytest.mark.slow
def test_walk_through_gives_a_ranked_batch(service_port: int, tmp_path: Path) -> None:
    script = walk_through()
    assert "127.0.0.1:8123" in script
    assert "./my-lab" in script
    script = script.replace("8123", str(service_port)).replace("./my-lab", str(tmp_path / "my-lab"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    header = next(row for row, line in enumerate(lines) if "rank,in_batch" in line)
    ranked = [line.split(",") for line in lines[header + 1 : header + 13]]
    assert [(row[0], row[1]) for row in ranked] == [(str(i), "True") for i in range(1, 13)]
    assert lines[-1] == "running"
