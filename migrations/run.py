"""Bring a database to this program's version. Safe to run twice, or from two processes at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from service.kit.database import Database

_LOCK = 7_301_985_113  # any number that is ours alone, for pg_advisory_xact_lock


class NewerDatabase(RuntimeError):
    """The database was migrated by a later version of this program."""


def upgrade(database: Database, revision: str = "head") -> None:
    """Run every migration that is missing up to ``revision``, in one transaction."""
    _with_lock(database, lambda connection: _upgrade(connection, revision))


def downgrade(database: Database, revision: str) -> None:
    """Go back to ``revision``. Loses what only later versions can hold."""
    _with_lock(database, lambda connection: command.downgrade(_config(connection), revision))


def pending_revisions(database: Database) -> list[str]:
    """The migrations that are missing, oldest first."""
    script = ScriptDirectory.from_config(_config(None))
    with database.engine.connect() as connection:
        present = MigrationContext.configure(connection).get_current_revision()
    _require_known(script, present)
    return [row.revision for row in reversed(list(script.iterate_revisions("head", present)))]


def wait_for_turn(session: Session) -> None:
    """Until this transaction ends, no other process migrates or sets up."""
    # On SQLite every writer has been alone since its BEGIN IMMEDIATE.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def _upgrade(connection: Connection, revision: str) -> None:
    config = _config(connection)
    present = MigrationContext.configure(connection).get_current_revision()
    _require_known(ScriptDirectory.from_config(config), present)
    command.upgrade(config, revision)


def _require_known(script: ScriptDirectory, present: str | None) -> None:
    known = {row.revision for row in script.walk_revisions()}
    if present is not None and present not in known:
        raise NewerDatabase(
            f"the database is at revision {present}, which this version does not know; "
            f"install the version that made it"
        )


def _with_lock(database: Database, work: Callable[[Connection], None]) -> None:
    with database.session(write=True) as session, session.begin():
        wait_for_turn(session)
        connection = session.connection()
        if database.dialect == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        work(connection)


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
