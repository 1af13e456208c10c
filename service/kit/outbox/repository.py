"""Events of one workspace, as requests see them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Select

from service.kit.outbox.tables import OutboxEvent
from service.kit.repository import Repository


class EventRepository(Repository[OutboxEvent]):
    entity = OutboxEvent
    noun = "event"

    def of_type(self, type: str) -> Select[OutboxEvent]:
        return self.readable().where(OutboxEvent.type == type)

    def between(
        self, since: datetime, until: datetime, types: list[str], limit: int
    ) -> list[OutboxEvent]:
        """At most ``limit`` events of ``types`` from ``since`` on, before ``until``, in order."""
        statement = self.readable().where(
            OutboxEvent.at >= since, OutboxEvent.at < until, OutboxEvent.type.in_(types)
        )
        return list(self.session.scalars(statement.order_by(OutboxEvent.id).limit(limit)))
