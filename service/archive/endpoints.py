"""`/v1/campaigns/{id}/archives` and `/v1/archives`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from service.archive.schemas import ArchiveIn, ArchiveOut, describe_archive
from service.archive.service import ArchiveService
from service.archive.tables import Archive
from service.kit.auth import scopes
from service.kit.jobs import Job
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import BadRequest, Conflict, Invalid, NotFound, TooLarge, documented
from service.kit.unit import ReceivedDep, UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["archives"])

_ZIP = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post(
    "/campaigns/{campaign_id}/archives",
    status_code=202,
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Invalid),
)
def export_campaign(
    campaign_id: str, body: ArchiveIn, unit: UnitDep, response: Response
) -> ArchiveOut:
    """Ask for everything of a campaign as one documented file: data, originals, audit trail.

    Poll the archive for its progress; then fetch its content.
    """
    return _accepted(*ArchiveService(unit).export(campaign_id, weights=body.weights), response)


@router.post(
    "/archives",
    status_code=202,
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(BadRequest, Invalid, TooLarge),
    openapi_extra={
        "x-upload": True,
        "x-archive": True,
        "requestBody": {"required": True, "content": _BYTES},
    },
)
def import_campaign(unit: UnitDep, received: ReceivedDep, response: Response) -> ArchiveOut:
    """Bring a campaign in from such a file, of this or of another installation.

    Compounds and cell lines that are here already are matched; contradictions are refused in
    words. The campaign exists whole or not at all, and the same file twice is one import.
    """
    return _accepted(*ArchiveService(unit).bring_in(received), response)


@router.get("/archives", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_archives(
    unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[ArchiveOut]:
    """Archives that were made here or brought here, oldest first."""
    service = ArchiveService(unit)
    rows = service.archives.page(page)
    jobs = service.jobs.get_many(row.job_id for row in rows.items)
    return page_out(request, response, rows, lambda row: describe_archive(row, jobs[row.job_id]))


@router.get(
    "/archives/{archive_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_archive(archive_id: str, unit: UnitDep) -> ArchiveOut:
    """One archive, and how far it is."""
    service = ArchiveService(unit)
    archive = service.archives.get(archive_id)
    return describe_archive(archive, service.job_of(archive))


@router.get(
    "/archives/{archive_id}/content",
    dependencies=[needs(scopes.ADMIN)],
    response_class=FileResponse,
    responses={
        200: {"content": _ZIP, "description": "The file; byte ranges are served."},
        **documented(NotFound, Conflict, Invalid),
    },
)
def get_archive_content(archive_id: str, unit: UnitDep) -> FileResponse:
    """The file. While it is being made: 409 with its progress."""
    service = ArchiveService(unit)
    name = service.content(service.archives.get(archive_id))
    path = unit.parts.artifacts.locate(name)
    headers = {"ETag": f'"{name.partition(".")[0]}"'}
    return FileResponse(
        path, media_type="application/zip", filename=f"{archive_id}.zip", headers=headers
    )


def _accepted(archive: Archive, job: Job, response: Response) -> ArchiveOut:
    response.headers["Location"] = f"/v1/archives/{archive.id}"
    return describe_archive(archive, job)
