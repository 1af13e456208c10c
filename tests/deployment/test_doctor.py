"""``nextround doctor``: what is wrong is said, and the exit code says so too."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.live import free_port, serving
from tests.deployment.commands import nextround

pytestmark = pytest.mark.slow


def test_a_healthy_installation(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        server.until_ready()
        done = nextround(tmp_path / "data", "doctor")
    assert done.returncode == 0, done.stdout
    assert "WRONG" not in done.stdout
    for name in ("python", "torch", "device", "database", "migrations", "workers", "disk"):
        assert f"ok    {name}" in done.stdout


def test_no_worker_lives(tmp_path: Path) -> None:
    assert nextround(tmp_path, "migrate").returncode == 0
    done = nextround(tmp_path, "doctor")
    assert done.returncode == 1
    assert _wrong(done.stdout) == ["workers"]
    assert "nextround worker" in done.stdout


def test_the_migrations_are_missing(tmp_path: Path) -> None:
    done = nextround(tmp_path, "doctor")
    assert done.returncode == 1
    assert "migrations" in _wrong(done.stdout)
    assert "nextround migrate" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_the_database_is_away(tmp_path: Path) -> None:
    url = f"postgresql://somebody:secret@127.0.0.1:{free_port()}/lab"
    done = nextround(tmp_path, "doctor", "--database-url", url)
    assert done.returncode == 1
    assert {"database", "migrations", "workers"} <= set(_wrong(done.stdout))
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "nextround.db").write_bytes(b"not a database" * 100)
    done = nextround(tmp_path, "doctor")
    assert done.returncode == 1
    assert "database" in _wrong(done.stdout)
    assert "Traceback" not in done.stdout + done.stderr


def test_machines_read_json(tmp_path: Path) -> None:
    done = nextround(tmp_path, "doctor", "--json")
    checks = json.loads(done.stdout)
    assert {"name", "ok", "detail"} == set(checks[0])
    assert done.returncode == (0 if all(check["ok"] for check in checks) else 1)


@pytest.mark.parametrize("arguments", [["migrate"], ["serve"], ["keys", "create", "--name", "x"]])
def test_other_commands_say_that_the_database_is_away(tmp_path: Path, arguments: list[str]) -> None:
    url = f"postgresql://somebody:secret@127.0.0.1:{free_port()}/lab"
    done = nextround(tmp_path, *arguments, "--database-url", url)
    assert done.returncode == 2
    assert "the database does not answer" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [["keys", "create", "--name", "x"], ["new-workspace", "Lab"], ["worker"]]
)
def test_other_commands_say_that_the_migrations_are_missing(
    tmp_path: Path, arguments: list[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "nextround.db")):
        pass
    done = nextround(tmp_path, *arguments)
    assert done.returncode == 2
    assert "nextround migrate" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def _wrong(output: str) -> list[str]:
    return [line.split()[1] for line in output.splitlines() if line.startswith("WRONG")]
