"""What the migrations build is what the program expects, on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from migrations.metadata import metadata
from migrations.run import _config, downgrade, pending_revisions, upgrade
from service.kit.audit.tables import AuditEvent
from service.kit.auth.service import create_workspace
from service.kit.database import Database
from service.kit.jobs.engine import migrate_engine
from tests.migrations.schema_dump import dump, triggers

APPEND_ONLY = ("audit_event", "measurement", "submission")


def test_every_table_exists_after_an_upgrade_from_nothing(empty: Database) -> None:
    assert pending_revisions(empty) != []
    upgrade(empty)
    assert pending_revisions(empty) == []
    assert set(dump(empty)["tables"]) == {*metadata.tables, "alembic_version"}


def test_the_migrated_schema_is_the_one_in_the_code(new_database: Callable[[], Database]) -> None:
    """Down to constraints, partial indexes and triggers, which Alembic's own check overlooks."""
    migrated, made = new_database(), new_database()
    upgrade(migrated)
    metadata.create_all(made.engine)
    found, expected = dump(migrated), dump(made)
    del found["tables"]["alembic_version"]
    assert found == expected


def test_alembic_finds_nothing_to_add(empty: Database) -> None:
    """`alembic check`, with the job engine's tables beside ours."""
    upgrade(empty)
    migrate_engine(empty.url)
    with empty.session(write=True) as session, session.begin():
        command.check(_config(session.connection()))


def test_down_to_nothing_and_up_again(empty: Database) -> None:
    upgrade(empty)
    migrate_engine(empty.url)
    engine_tables = set(dump(empty)["tables"]) - set(metadata.tables)
    first = dump(empty)
    downgrade(empty, "base")
    assert set(dump(empty)["tables"]) == engine_tables
    assert dump(empty)["triggers"] == {}
    upgrade(empty)
    assert dump(empty) == first


def test_records_cannot_be_changed_after_a_migration(empty: Database) -> None:
    upgrade(empty)
    with empty.writing() as session:
        create_workspace(session, "Lab")  # leaves a trail
    with empty.engine.connect() as connection:
        names = " ".join(triggers(connection))
    for table in APPEND_ONLY:
        assert table in names
    for statement in ("UPDATE audit_event SET actor = 'x'", "DELETE FROM audit_event"):
        with pytest.raises(DBAPIError, match="append-only"), empty.writing() as session:
            session.execute(text(statement))


def test_an_upgrade_with_nothing_to_do_keeps_everything(empty: Database) -> None:
    upgrade(empty)
    with empty.writing() as session:
        workspace, _ = create_workspace(session, "Lab")
    before = dump(empty)
    upgrade(empty)
    assert dump(empty) == before
    with empty.reading() as session:
        events = session.query(AuditEvent).filter_by(workspace_id=workspace.id).count()
    assert events == 1


def test_history_is_one_line() -> None:
    """One head, no branches: the order of migrations is the same for everybody."""
    script = ScriptDirectory.from_config(_config(None))
    assert len(script.get_heads()) == 1
    revisions = [row.revision for row in script.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)
    for row in script.walk_revisions():
        assert f"m{row.revision}_" in row.path
        assert row.doc, f"{row.revision} does not say what it does"
