"""SQL of the audit trail: reading only; the recorder writes."""

from __future__ import annotations

from sqlalchemy import Select

from service.kit.audit.tables import AuditEvent
from service.kit.repository import Repository


class AuditRepository(Repository[AuditEvent]):
    entity = AuditEvent
    noun = "audit event"

    def of_subject(self, subject_id: str) -> Select[AuditEvent]:
        return self.readable().where(AuditEvent.subject_id == subject_id)
