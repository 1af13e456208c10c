"""`/v1/audit-events`: who changed what, when and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.kit.audit.repository import AuditRepository
from service.kit.auth import scopes
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import Invalid, documented
from service.kit.schemas import Out
from service.kit.unit import UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["audit"])


class AuditEventOut(Out):
    id: str
    at: datetime
    actor: str
    action: str
    subject_type: str
    subject_id: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    reason: str | None
    request_id: str | None


@router.get("/audit-events", dependencies=[needs(scopes.ADMIN)], responses=documented(Invalid))
def list_audit_events(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    subject_id: Annotated[
        str | None,
        Query(max_length=80, pattern="^[0-9a-z_/]+$", description="Only what befell this one."),
    ] = None,
) -> PageOut[AuditEventOut]:
    """The trail of the workspace, oldest first. Nobody can change or delete it."""
    events = AuditRepository(unit.session, unit.principal)
    rows = events.page(page, events.of_subject(subject_id) if subject_id else None)
    return page_out(request, response, rows, AuditEventOut.model_validate)
