"""``nextround serve`` on an empty folder: the first five minutes of every user."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import httpx2
import pytest

from tests.contract.live import PATIENCE_S, LiveServer, serving

pytestmark = pytest.mark.slow


def test_the_first_key_is_shown_once_and_works(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-worker") as server:
        (key,) = server.keys_shown
        assert f"http://127.0.0.1:{server.port}" in server.output
    with serving(tmp_path, "--no-worker") as again:
        assert again.keys_shown == [key]  # the log is appended to: nothing new in it
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx2.get(f"{again.url}/v1/workspace", headers=headers)
        assert answer.json()["name"] == "My lab"


def test_nobody_else_on_the_machine_can_read_the_database(tmp_path: Path) -> None:
    """The write-ahead log holds the same rows as the database."""
    with serving(tmp_path, "--no-worker") as server:
        files = sorted(server.database.parent.glob("nextround.db*"))
        assert [file.name for file in files][:1] == ["nextround.db"]
        assert len(files) > 1, "no write-ahead log: this test looks at nothing"
        for file in files:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_takes_its_worker_along(tmp_path: Path, number: signal.Signals) -> None:
    """A stopped service leaves no worker behind, and its end counts as a success."""
    server = LiveServer(tmp_path)
    try:
        server.until_alive().until_ready()
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE_S) == 0, server.output
        assert "worker stopped" in server.output
    finally:
        server.stop()


def test_a_port_that_is_taken_is_an_error_in_words(tmp_path: Path) -> None:
    with serving(tmp_path, "--no-worker") as server:
        rival = LiveServer(tmp_path, "--no-worker", "--port", str(server.port))
        assert rival.process.wait(PATIENCE_S) != 0
        assert "address already in use" in rival.output
        assert "Traceback" not in rival.output
