"""The job of this room: files whose parser is slow. The API imports this module too."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from service.assays.files_in import FileError, ReaderFile
from service.assays.uploads.parsing import Content, as_error, dump_reader, read_file
from service.assays.uploads.service import READ_FILE, UploadService
from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth.principal import Principal
from service.kit.jobs import JobContext, JobFailed, handler, problem_dict
from service.kit.parts import Parts
from service.kit.problems import FieldError
from service.kit.unit import Unit


@handler(READ_FILE, queue="cpu")
def read_upload(ctx: JobContext) -> dict[str, Any]:
    """Read a file, look at it, and commit it where that was asked for and nothing is open."""
    upload_id = str(ctx.args["upload_id"])
    with ctx.database.reading() as session:
        upload = UploadService(_unit(ctx, session)).uploads.get(upload_id)
        name, said, original = upload.file_name, upload.asked, upload.original
    content = ctx.artifacts.get(original)
    ctx.progress("reading the file", 0, 1)
    try:
        found = read_file(name, content, said["format"], said["decimal"], heavy=True).content
    except FileError as error:
        wrong = as_error(error)
        name_of_format = error.format

        def refuse(session: Session) -> None:
            _refuse(ctx, session, upload_id, name_of_format, wrong)

        ctx.transaction("refuse", refuse)
        raise JobFailed(
            problem_dict("invalid", "The file cannot be read", wrong.message, 422)
        ) from None

    def publish(session: Session) -> dict[str, Any]:
        return _publish(ctx, session, upload_id, found, content, said["commit"])

    return ctx.transaction("publish", publish)


def _publish(
    ctx: JobContext,
    session: Session,
    upload_id: str,
    found: Content | None,
    content: bytes,
    commit: bool,
) -> dict[str, Any]:
    service = UploadService(_unit(ctx, session))
    upload = service.uploads.get(upload_id)
    if isinstance(found, ReaderFile):
        upload.parsed = ctx.artifacts.put(dump_reader(found), "json")
    if found is not None:
        service.settle(upload, service.look_at(upload, found), content, commit=commit)
    return {"upload": f"/v1/uploads/{upload_id}"}


def _refuse(
    ctx: JobContext, session: Session, upload_id: str, format_name: str | None, wrong: FieldError
) -> None:
    service = UploadService(_unit(ctx, session))
    service.mark_refused(service.uploads.get(upload_id), format_name, wrong)


def _unit(ctx: JobContext, session: Session) -> Unit:
    principal = Principal.of_job(ctx.workspace_id, ctx.job_id)
    attach(session, AuditContext(principal, request_id=ctx.job_id))
    return Unit(session, principal, Parts(ctx.settings, ctx.database, ctx.artifacts))
