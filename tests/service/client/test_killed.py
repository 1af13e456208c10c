"""``nextround watch`` as a process, killed for real between storing a file and moving it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Nextround
from tests.contract.live import ROOT, LiveServer
from tests.lab import PAIR_HEADER

KILLED = """
import os, signal, sys
from service.client import folder
folder._rename = lambda source, target: os.kill(os.getpid(), signal.SIGKILL)
from service.cli import main
sys.argv[0] = "nextround"
main()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path, "--no-worker")
    try:
        yield server.until_alive()
    finally:
        server.process.terminate()
        server.process.wait(60)


def nextround(server: LiveServer, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NEXTROUND_KEY": server.keys_shown[0]}
    arguments = [*command, "watch", "share", "--url", server.url, "--once", "--settle", "0.1"]
    return subprocess.run(
        [sys.executable, *arguments], env=env, cwd=server.folder, capture_output=True, text=True
    )


@pytest.mark.slow
def test_killed_between_storing_and_moving(server: LiveServer) -> None:
    with Nextround(server.url, server.keys_shown[0]) as lab:
        lab.register_compounds([{"name": "A"}, {"name": "B"}])
        lab.register_cell_lines([{"name": "X"}])
        body = {"name": "S1", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]}
        campaign = lab.create_campaign(body)
        inbox = server.folder / "share" / "inbox" / "S1"
        inbox.mkdir(parents=True)
        (inbox / "run.csv").write_text(f"{PAIR_HEADER}\nX,A,1,B,1,0.5\n")

        assert nextround(server, "-c", KILLED).returncode == -9
        assert (inbox / "run.csv").exists()
        done = nextround(server, "-m", "service.cli")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("run.csv: ")
        archived = server.folder / "share" / "archive" / "S1" / "run.csv"
        assert archived.exists()
        assert not (inbox / "run.csv").exists()
        assert len(list(lab.list_submissions(campaign["id"]))) == 1
        assert len(list(lab.list_measurements(campaign["id"]))) == 1

        (inbox / "bad.csv").write_text("nothing\n")
        assert nextround(server, "-m", "service.cli").returncode == 1
        wrong = nextround(server, "-c", KILLED.replace("import os,", "import os; os.environ.pop("
                          "'NEXTROUND_KEY'); import os,"))  # fmt: skip
        assert (wrong.returncode, "NEXTROUND_KEY" in wrong.stderr) == (2, True)
