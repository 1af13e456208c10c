"""Two processes at once, a database from the future, and what the operator is told."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import text

from migrations.run import NewerDatabase, pending_revisions, upgrade
from service.kit.database import Database
from service.kit.jobs.engine import migrate_engine
from service.kit.parts import Parts
from service.settings import Settings
from service.setup import prepare

ROOT = Path(__file__).parents[2]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """``nextround ARGUMENTS`` as a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NEXTROUND_DATA_DIR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_two_processes_migrate_at_once(empty: Database, tmp_path: Path) -> None:
    """As two API processes do that start together: one works, the other waits."""
    both = [start(tmp_path, "migrate", "--database-url", empty.url) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert pending_revisions(empty) == []
    with empty.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM workspace")) == 1
        assert session.scalar(text("SELECT count(*) FROM api_key")) == 1
    assert sum("first key" in out for out, _ in outputs) == 1


def test_eight_processes_make_one_first_workspace(empty: Database, tmp_path: Path) -> None:
    """They look at the same moment, see none, and still only one of them makes it."""
    upgrade(empty)
    settings = Settings(data_dir=tmp_path, database_url=empty.url)
    together = Barrier(8)

    def begin(_: int) -> str | None:
        parts = Parts.of(settings)
        try:
            parts.database.engine.connect().close()
            together.wait(timeout=30)
            return prepare(parts)
        finally:
            parts.database.dispose()

    migrate_engine(empty.url)
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(begin, range(8)))
    assert sum(key is not None for key in keys) == 1


def test_a_database_from_the_future_is_left_alone(empty: Database) -> None:
    upgrade(empty)
    _claim_revision(empty, "9999")
    for look in (upgrade, pending_revisions):
        with pytest.raises(NewerDatabase, match=r"9999.*install the version that made it"):
            look(empty)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["migrate", "serve", "doctor"])
def test_the_operator_is_told_that_the_database_is_newer(
    empty: Database, tmp_path: Path, command: str
) -> None:
    upgrade(empty)
    _claim_revision(empty, "9999")
    process = start(tmp_path, command, "--database-url", empty.url)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (1, 2)
    assert "the database is at revision 9999" in out + err
    assert "Traceback" not in out + err


def _claim_revision(database: Database, revision: str) -> None:
    with database.writing() as session:
        session.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
