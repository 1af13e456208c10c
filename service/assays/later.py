"""Long tables, stored by a worker: the same rules as a request, with progress and a way back."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from service.assays.field_maps.service import FieldMapService
from service.assays.intake import table_from
from service.assays.service import SubmissionService, Table, scale_of
from service.assays.spool import RowSpool
from service.assays.tables import Submission
from service.assays.tables_in import Declaration
from service.kit.audit.recorder import AuditContext, attach, record
from service.kit.auth.principal import Principal
from service.kit.auth.scopes import ADMIN
from service.kit.body import ReceivedBody
from service.kit.database import dump_json
from service.kit.jobs import Job, JobContext, JobFailed, enqueue, problem_dict
from service.kit.parts import Parts
from service.kit.problems import FieldError, Invalid, Problem
from service.kit.unit import Unit

SUBMIT = "submit"


def prefers_later(asked: bool, prefer: str | None) -> bool:
    """Whether a client wants a job instead of an answer (RFC 7240)."""
    wishes = (part.split(";")[0].strip().lower() for part in (prefer or "").split(","))
    return asked or "respond-async" in wishes


def ask(
    unit: Unit, campaign_id: str, table: Table, declared: Declaration, *, dry_run: bool
) -> Submission | Job:
    """The job that will store ``table``, or the submission that holds it already.

    Asking again for the same table while its job is unfinished gives the same job.
    """
    if dry_run:
        message = "A dry run answers at once; leave out either dry_run or async."
        error = FieldError(code="async", message=message, pointer="query/dry_run")
        raise Invalid(message, errors=[error])
    service = SubmissionService(unit)
    known = service.known(campaign_id, table)
    if known is not None:
        return known
    scale_of(table)
    args = {
        "original": unit.parts.artifacts.put(table.content(), table.suffix),
        "media_type": table.media_type,
        "declared": asdict(declared),
        "field_map_id": table.field_map_id,
        "note": table.note,
    }
    digest = hashlib.sha256(dump_json(args).encode()).hexdigest()
    job = enqueue(
        unit.session,
        workspace_id=unit.principal.workspace_id,
        kind=SUBMIT,
        args=args,
        campaign_id=campaign_id,
        created_by=unit.principal.actor,
        dedupe_key=f"submit:{campaign_id}:{digest}",
    )
    if job.created_by == unit.principal.actor and job.attempt == 0:
        record(unit.session, "job.requested", "job", job.id, new={"kind": SUBMIT, "args": args})
    return job


def store(ctx: JobContext) -> dict[str, Any]:
    """Check all of the table that a job names, then store all of it."""
    content = ctx.artifacts.get(ctx.args["original"])
    total = content.count(b"\n")

    def on_rows(n_rows: int) -> None:
        ctx.progress("checking rows", n_rows, max(n_rows, total))
        ctx.raise_if_stopped()

    try:
        with RowSpool() as spool, ctx.database.reading() as session:
            unit = _unit(ctx, session)
            campaign_id, table = str(ctx.campaign_id), _table(unit, ctx.args, content)
            known, n_rows = SubmissionService(unit).look(campaign_id, table, spool, on_rows)
            if known is not None:
                return _result(known, "existing")
            # Nobody else can write meanwhile, this job's progress included.
            ctx.progress("storing rows", 0, n_rows)
            return ctx.transaction(
                "store", lambda session: _keep(ctx, session, table, spool, n_rows)
            )
    except Problem as problem:
        raise JobFailed(_as_dict(problem)) from None


def _keep(
    ctx: JobContext, session: Session, table: Table, spool: RowSpool, n_rows: int
) -> dict[str, Any]:
    service = SubmissionService(_unit(ctx, session))
    return _result(*service.keep(str(ctx.campaign_id), table, spool, n_rows))


def _table(unit: Unit, args: dict[str, Any], content: bytes) -> Table:
    sha256 = args["original"].partition(".")[0]
    received = ReceivedBody(io.BytesIO(content), len(content), sha256)
    given = Declaration(**args["declared"])
    declared, row, header_map = FieldMapService(unit).apply(args["field_map_id"], given)
    settings = unit.parts.settings
    return table_from(
        received,
        args["media_type"],
        declared,
        max_rows=settings.max_upload_rows,
        max_json_bytes=settings.max_body_bytes,
        note=args["note"],
        header_map=header_map,
        field_map_id=None if row is None else row.id,
    )


def _result(submission: Submission, outcome: str) -> dict[str, Any]:
    return {
        "submission": f"/v1/submissions/{submission.id}",
        "outcome": outcome,
        "n_measurements": submission.n_measurements,
    }


def _as_dict(problem: Problem) -> dict[str, Any]:
    plain = problem_dict(problem.slug, problem.title, problem.detail, problem.status)
    errors = [error.model_dump() for error in problem.errors]
    return {**plain, "errors": errors, "error_count": problem.error_count}


def _unit(ctx: JobContext, session: Session) -> Unit:
    """On behalf of who asked: the submission is theirs, not the worker's."""
    actor = ctx.created_by or ctx.job_id
    principal = Principal(ctx.workspace_id, actor, frozenset({ADMIN}))
    attach(session, AuditContext(principal, request_id=ctx.job_id))
    return Unit(session, principal, Parts(ctx.settings, ctx.database, ctx.artifacts))
