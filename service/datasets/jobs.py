"""The jobs of this room. The API imports this module too, so models are imported inside."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from service.datasets.repository import DatasetRepository
from service.datasets.service import FIT_DATASET, READ_DATASET
from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth.principal import Principal
from service.kit.jobs import JobContext, JobFailed, handler, problem_dict
from service.kit.parts import Parts
from service.kit.unit import Unit


@handler(READ_DATASET, queue="cpu")
def read_dataset(ctx: JobContext) -> dict[str, Any]:
    """Read a file as it was declared; what it holds is kept, or why it cannot be read."""
    from service.assays.files_in.problems import FileError
    from service.datasets.reading.reading import read
    from service.datasets.storage import store
    from service.datasets.summary import summary_of

    dataset_id = str(ctx.args["dataset_id"])
    with ctx.database.reading() as session:
        row = _datasets(ctx, session).get(dataset_id)
        path, name, asked = ctx.artifacts.locate(row.original), row.filename, dict(row.asked)
    ctx.progress("reading the file", 0, 1)
    try:
        found = read(path, name, asked)
    except FileError as error:
        message = str(error)

        def refuse(session: Session) -> None:
            refused = _datasets(ctx, session).get(dataset_id)
            refused.state, refused.problem = "refused", message

        ctx.transaction("refuse", refuse)
        raise JobFailed(problem_dict("invalid", "The file cannot be read", message, 422)) from None
    content, summary = store(found, ctx.artifacts), summary_of(found)

    def publish(session: Session) -> dict[str, Any]:
        ready = _datasets(ctx, session).get(dataset_id)
        ready.state, ready.content, ready.summary = "ready", content, summary
        return {"dataset": f"/v1/datasets/{dataset_id}"}

    return ctx.transaction("publish", publish)


@handler(FIT_DATASET, queue="train")
def fit_dataset(ctx: JobContext) -> dict[str, Any]:
    """Models beside baselines, chosen by what was held out."""
    from service.datasets.fitting import fit

    return fit(ctx)


def unit_of(ctx: JobContext, session: Session) -> Unit:
    """The job as the one who reads and writes, for the workspace that asked for it."""
    principal = Principal.of_job(ctx.workspace_id, ctx.job_id)
    attach(session, AuditContext(principal, request_id=ctx.job_id))
    return Unit(session, principal, Parts(ctx.settings, ctx.database, ctx.artifacts))


def _datasets(ctx: JobContext, session: Session) -> DatasetRepository:
    unit = unit_of(ctx, session)
    return DatasetRepository(unit.session, unit.principal)
