"""Bring an installation to life: migrations, the job engine's tables, the first workspace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sqlalchemy import select

from migrations.run import upgrade, wait_for_turn
from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth import scopes
from service.kit.auth.principal import Principal
from service.kit.auth.service import ApiKeyService, create_workspace
from service.kit.auth.tables import Workspace
from service.kit.jobs.engine import migrate_engine
from service.kit.parts import Parts

DEFAULT_WORKSPACE = "My lab"


def prepare(parts: Parts) -> str | None:
    """Migrate; make the first workspace if there is none. Returns its first key, this once."""
    _keep_private(parts)
    upgrade(parts.database)
    migrate_engine(parts.database.url)
    with parts.database.writing() as session:
        wait_for_turn(session)
        if session.scalar(select(Workspace.id).limit(1)) is not None:
            return None
        return create_workspace(session, DEFAULT_WORKSPACE)[1]


def add_key(parts: Parts, workspace: str | None, name: str, granted: list[str]) -> str:
    """A new key, made by whoever can reach the database: the operator."""
    with parts.database.writing() as session:
        found = session.scalars(select(Workspace).order_by(Workspace.id)).all()
        chosen = [row for row in found if workspace in (None, row.id, row.name)]
        if len(chosen) != 1:
            names = ", ".join(f"{row.name} ({row.id})" for row in found) or "none"
            raise LookupError(f"say which workspace with --workspace; there are: {names}")
        principal = Principal(chosen[0].id, "operator", frozenset({scopes.ADMIN}))
        attach(session, AuditContext(principal))
        return ApiKeyService(session, principal).create(name, granted, None)[1]


def add_workspace(parts: Parts, name: str) -> str:
    """A new workspace; returns its first key, this once."""
    with parts.database.writing() as session:
        return create_workspace(session, name)[1]


def _keep_private(parts: Parts) -> None:
    """The embedded database holds a lab's results: for its owner's eyes.

    Before anything is written: SQLite gives its log the permissions that the database has then.
    """
    path = parts.database.engine.url.database
    if parts.database.dialect != "sqlite" or not path:
        return
    Path(path).touch(mode=0o600)
    for name in (path, f"{path}-wal", f"{path}-shm"):
        if os.path.exists(name):
            os.chmod(name, stat.S_IRUSR | stat.S_IWUSR)
