"""Whether ids are free in the whole installation: they are unique across its workspaces."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.archive.content import Part
from service.kit.repository import in_chunks


def any_taken(session: Session, part: Part, ids: Iterable[str]) -> bool:
    """Whether some row of whatever workspace has one of ``ids``. Says no more than that."""
    column = part.table.c.id
    for chunk in in_chunks(ids):
        if session.scalar(select(column).where(column.in_(chunk)).limit(1)) is not None:
            return True
    return False
