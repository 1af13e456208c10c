"""Empty databases of both kinds."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from service.kit.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Gives the URL of another empty database each time; every test runs on both kinds."""
    if request.param == "sqlite":
        yield lambda: f"sqlite:///{tmp_path / uuid.uuid4().hex}.db"
        return
    url: Callable[[str], str] = request.getfixturevalue("postgres_server")
    made: list[str] = []

    def make() -> str:
        made.append(f"empty_{uuid.uuid4().hex}")
        _administer(url("postgres"), f"CREATE DATABASE {made[-1]}")
        return url(made[-1])

    yield make
    for name in made:
        _administer(url("postgres"), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def new_database(new_url: Callable[[], str]) -> Iterator[Callable[[], Database]]:
    """Opens another empty database each time."""
    opened: list[Database] = []

    def open_one() -> Database:
        opened.append(Database(new_url()))
        return opened[-1]

    yield open_one
    for database in opened:
        database.dispose()


@pytest.fixture
def empty(new_database: Callable[[], Database]) -> Database:
    """One empty database."""
    return new_database()


def _administer(url: str, statement: str) -> None:
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
