"""Writes the audit trail by itself: a session that carries a context records every change.

Rows of classes with ``__audited__ = True`` are covered by construction; nobody has to remember.
Rows written in bulk (measurements) are covered by one explicit event for their submission.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, UOWTransaction

from service.kit.audit.tables import AuditEvent
from service.kit.auth.principal import Principal
from service.kit.ids import new_id

_KEY = "nextround_audit"


@dataclass
class AuditContext:
    """Who is changing things in this session, and why."""

    principal: Principal
    request_id: str | None = None
    reason: str | None = None


def attach(session: Session, context: AuditContext) -> None:
    """Record every audited change of ``session`` from now on."""
    session.info[_KEY] = context


def give_reason(session: Session, reason: str | None) -> None:
    """Say why the changes that follow in ``session`` are made."""
    context: AuditContext | None = session.info.get(_KEY)
    if context is not None:
        context.reason = reason


def record(
    session: Session,
    action: str,
    subject_type: str,
    subject_id: str,
    *,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
) -> None:
    """Add one event by hand, for changes that do not pass through the session's objects."""
    context: AuditContext = session.info[_KEY]
    session.add(_event(context, action, subject_type, subject_id, old, new))


def _event(
    context: AuditContext,
    action: str,
    subject_type: str,
    subject_id: str,
    old: dict[str, Any] | None,
    new: dict[str, Any] | None,
) -> AuditEvent:
    return AuditEvent(
        id=new_id("aud"),
        workspace_id=context.principal.workspace_id,
        actor=context.principal.actor,
        action=action,
        subject_type=subject_type,
        subject_id=subject_id,
        old=old,
        new=new,
        reason=context.reason,
        request_id=context.request_id,
    )


@event.listens_for(Session, "before_flush")
def _record_changes(session: Session, flush: UOWTransaction, instances: Any) -> None:
    context: AuditContext | None = session.info.get(_KEY)
    if context is None:
        return
    for row in session.new:
        _fill_defaults(row)
    events = [
        made
        for rows, action in (
            (session.new, "created"),
            (session.dirty, "changed"),
            (session.deleted, "deleted"),
        )
        for row in rows
        if getattr(row, "__audited__", False)
        for made in _describe(context, row, action)
    ]
    session.add_all(events)


def _describe(context: AuditContext, row: Any, action: str) -> list[AuditEvent]:
    old, new = _changes(row, action)
    if action == "changed" and not new:
        return []
    subject = row.__tablename__
    return [
        _event(context, f"{subject}.{action}", subject, _identity(row), old or None, new or None)
    ]


def _fill_defaults(row: Any) -> None:
    """Set what an INSERT would fill in, so that the trail says what is stored."""
    state = inspect(row)
    for attribute in state.mapper.column_attrs:
        default = attribute.columns[0].default
        if default is not None and state.dict.get(attribute.key) is None:
            value = default.arg(None) if default.is_callable else default.arg
            setattr(row, attribute.key, value)


def _identity(row: Any) -> str:
    state = inspect(row)
    return "/".join(str(state.attrs[key.key].value) for key in _primary_attributes(state))


def _primary_attributes(state: Any) -> list[Any]:
    mapper = state.mapper
    return [mapper.get_property_by_column(column) for column in mapper.primary_key]


def _changes(row: Any, action: str) -> tuple[dict[str, Any], dict[str, Any]]:
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    hidden: frozenset[str] = getattr(row, "__audit_hidden__", frozenset())
    for attribute in inspect(row).mapper.column_attrs:
        key = attribute.key
        history = inspect(row).attrs[key].history
        if key in hidden or (action == "changed" and not history.has_changes()):
            continue
        value = _plain(getattr(row, key))
        if action == "deleted":
            old[key] = value
        else:
            new[key] = value
            if action == "changed":
                old[key] = _plain(history.deleted[0]) if history.deleted else None
    return old, new


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return value
