"""On whose behalf the jobs of this room work: of who asked for them."""

from __future__ import annotations

from sqlalchemy.orm import Session

from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth.principal import Principal
from service.kit.auth.scopes import ADMIN
from service.kit.jobs import JobContext
from service.kit.parts import Parts
from service.kit.unit import Unit


def unit_of(ctx: JobContext, session: Session) -> Unit:
    """The job as who asked for it, in the trail under both names."""
    actor = ctx.created_by or ctx.job_id
    principal = Principal(ctx.workspace_id, actor, frozenset({ADMIN}))
    attach(session, AuditContext(principal, request_id=ctx.job_id))
    return Unit(session, principal, Parts(ctx.settings, ctx.database, ctx.artifacts))
