"""A second installation, with a database of either kind."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from starlette.testclient import TestClient

from service.app import create_app
from service.kit.artifacts import ArtifactStore
from service.kit.auth.service import create_workspace
from service.kit.database import Database
from service.kit.parts import Parts
from service.settings import Settings
from tests.lab import Lab


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Lab]]:
    """Makes the lab of an empty installation whose database is ``sqlite`` or ``postgresql``."""
    with ExitStack() as stack:

        def make(kind: str) -> Lab:
            folder = tmp_path / f"elsewhere-{uuid.uuid4().hex}"
            folder.mkdir()
            url = _empty(request, kind, folder, stack)
            settings = Settings(data_dir=folder, database_url=url, artifacts_url=str(folder / "a"))
            parts = Parts(settings, Database(url), ArtifactStore(settings.resolved_artifacts_url))
            stack.callback(parts.database.dispose)
            app = create_app(settings, parts)
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            with parts.database.writing() as session:
                workspace, key = create_workspace(session, "Elsewhere")
            return Lab(client, parts, workspace.id, key)

        yield make


def _empty(request: pytest.FixtureRequest, kind: str, folder: Path, stack: ExitStack) -> str:
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_file"), folder / "nextround.db")
        return f"sqlite:///{folder / 'nextround.db'}"
    url = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("postgres_template")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(
        make_url(url("postgres")).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    stack.callback(engine.dispose)

    def administer(statement: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(statement))

    administer(f"CREATE DATABASE {name} TEMPLATE {template}")
    stack.callback(administer, f"DROP DATABASE {name} WITH (FORCE)")
    return str(url(name))
