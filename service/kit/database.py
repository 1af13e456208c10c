"""SQLite and PostgreSQL through one door.

What differs between the two is settled here once: SQLite gets WAL, foreign keys, a busy time-out
and ``BEGIN IMMEDIATE`` for writers; times come back as UTC on both; identifiers compare byte by
byte on both, so that "ascending" means the same in Python, SQLite and PostgreSQL.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Engine, MetaData, String, create_engine, event, text
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator, TypeEngine

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

_WRITE = "nextround_write"
_SQLITE_BUSY_MS = 20_000
_AT_ONCE_MS = 50
_SQLITE_POOL = 40  # as many as FastAPI has threads


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC time on both databases (SQLite forgets the zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


class Identifier(TypeDecorator[str]):
    """A public identifier, compared byte by byte."""

    impl = String(40)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(40, collation="C"))
        return dialect.type_descriptor(String(40))


class Base(DeclarativeBase):
    """Every table of the service."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - read once by SQLAlchemy
        dict[str, Any]: JSON,
        list[Any]: JSON,
        datetime: UTCDateTime,
    }


def utcnow() -> datetime:
    """The server's clock, UTC."""
    return datetime.now(UTC)


def dump_json(value: Any) -> str:
    """JSON that both databases take: NaN and infinity are refused, not stored."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def is_finite(value: float) -> bool:
    """Whether both databases store ``value`` as it is."""
    return math.isfinite(value)


class Database:
    """An engine and the two kinds of transaction: reading and writing."""

    def __init__(self, url: str, *, pool_size: int = 5) -> None:
        self.url = url
        self.dialect = make_url(url).get_backend_name()
        self.engine = _create_engine(url, pool_size)
        self._write_engine = self.engine.execution_options(**{_WRITE: True})

    def session(self, *, write: bool) -> Session:
        """A session whose owner commits, rolls back and closes it."""
        return Session(self._write_engine if write else self.engine, expire_on_commit=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that never commits."""
        with self.session(write=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back on any error."""
        with self.session(write=True) as session, session.begin():
            yield session

    @contextmanager
    def writing_at_once(self) -> Iterator[Session]:
        """Like :meth:`writing`, for what can as well be written later: ``OperationalError`` at
        once, instead of a wait, where somebody else holds the lock."""
        with self.session(write=True) as session:
            if self.dialect == "sqlite":
                with _impatient(self._write_engine) as connection:
                    session.bind = connection
                    with session.begin():
                        yield session
            else:
                with session.begin():
                    session.execute(text(f"SET LOCAL lock_timeout = {_AT_ONCE_MS}"))
                    yield session

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@contextmanager
def _impatient(engine: Engine) -> Iterator[Connection]:
    """A connection to SQLite that waits for nobody; patient again when it goes back."""
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("PRAGMA busy_timeout=0")
        try:
            yield connection
        finally:
            cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_MS}")


def _create_engine(url: str, pool_size: int) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            json_serializer=dump_json,
            hide_parameters=True,  # a lab's structures do not belong into the log
            connect_args={"check_same_thread": False, "timeout": _SQLITE_BUSY_MS / 1000},
            # Connections beyond the pool are opened and closed again for every request.
            **({"pool_size": _SQLITE_POOL} if parsed.database else {}),
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.get_backend_name() != "postgresql":
        raise ValueError(f"the database must be SQLite or PostgreSQL, not {parsed.drivername}")
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        json_serializer=dump_json,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=2 * pool_size,
        pool_pre_ping=True,
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not open transactions of its own: _begin_sqlite says which kind.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "recursive_triggers=ON",  # else REPLACE deletes from append-only tables unseen
        f"busy_timeout={_SQLITE_BUSY_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the write lock at once: a deferred transaction that turns into a writer
    # later fails with "database is locked" instead of waiting.
    immediate = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
