"""The one way to write an event."""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy.orm import Session

from service.kit.ids import new_id
from service.kit.outbox.tables import OutboxEvent


class Subject(Protocol):
    """A row of a workspace, or what a statement returned of it."""

    @property
    def id(self) -> Any: ...

    @property
    def workspace_id(self) -> Any: ...


def emit(session: Session, type: str, subject: Subject, **data: Any) -> None:
    """Say in the caller's transaction that something happened to ``subject``.

    ``data`` is small plain JSON, and nothing confidential: it leaves the house. Where the subject
    belongs to a campaign, the event says so by itself.
    """
    session.add(
        OutboxEvent(
            id=new_id("evt"),
            workspace_id=subject.workspace_id,
            type=type,
            subject_id=subject.id,
            campaign_id=getattr(subject, "campaign_id", None),
            data=data,
        )
    )
