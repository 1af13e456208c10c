"""`/v1/campaigns/{id}/files`, `/v1/uploads`, flags and quality of `/v1/plates`, their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.assays.schemas import Quantity, ScaleUnit
from service.assays.uploads.limits import LimitsService
from service.assays.uploads.plate_quality import (
    READINGS_HEADER,
    PlateQualityService,
    describe_flag,
    describe_result,
)
from service.assays.uploads.schemas import (
    DEFAULT_RULE,
    AskedIn,
    FlagOut,
    FlagsIn,
    LiftIn,
    NormaliseIn,
    PlateQualityOut,
    PlateResultOut,
    Preview,
    QualityLimitsIn,
    QualityLimitsOut,
    RuleName,
    UploadOut,
    UploadState,
    UploadSummaryOut,
    file_request_body,
)
from service.assays.uploads.service import Arrived, UploadService
from service.assays.uploads.tables import Upload
from service.kit import etag
from service.kit.auth import scopes
from service.kit.csv_out import csv_lines
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import (
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    TooLarge,
    UnsupportedMedia,
    documented,
)
from service.kit.schemas import Name
from service.kit.unit import ReceivedDep, UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["files"])


def _asked(
    barcode: Annotated[
        Name | None, Query(description="The plate, where neither file nor name say.")
    ] = None,
    label: Annotated[Name | None, Query(description="Which read counts, of several.")] = None,
    rule: Annotated[RuleName, Query(description="How readings become viability.")] = DEFAULT_RULE,
    accept_failed: Annotated[
        bool, Query(description="Take plates that quality control fails.")
    ] = False,
    accept_flags: Annotated[bool, Query(description="Flag every proposed well.")] = False,
    replace_earlier: Annotated[
        bool, Query(description="Take the place of an earlier read of the same plate.")
    ] = False,
    accept_mixed_scales: Annotated[
        bool, Query(description="Take growth rates beside viabilities, or vice versa.")
    ] = False,
    quantity: Annotated[Quantity | None, Query(description="Of a table.")] = None,
    unit: Annotated[ScaleUnit | None, Query(description="Of a table.")] = None,
    cell_line: Annotated[Name | None, Query(description="Of a table that names none.")] = None,
    repeats: Annotated[
        Literal["refuse", "replicates"], Query(description="Equal rows of a table.")
    ] = "refuse",
    confirm_scale: Annotated[bool, Query(description="Accept an unlikely scale.")] = False,
) -> AskedIn:
    """What is said with a file; what is left out is not noted, so that a commit can say it."""
    given = {
        "barcode": barcode, "label": label, "rule": rule, "accept_failed": accept_failed,
        "accept_flags": accept_flags, "replace_earlier": replace_earlier, "quantity": quantity,
        "unit": unit, "cell_line": cell_line, "repeats": repeats, "confirm_scale": confirm_scale,
        "accept_mixed_scales": accept_mixed_scales,
    }  # fmt: skip
    fields = AskedIn.model_fields
    return AskedIn(**{k: v for k, v in given.items() if v != fields[k].default})  # type: ignore[arg-type]


@router.post(
    "/campaigns/{campaign_id}/files",
    status_code=201,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses={
        200: {"model": UploadOut, "description": "These very bytes came before."},
        202: {"model": UploadOut, "description": "A worker reads it: follow the job."},
        **documented(NotFound, Conflict, Invalid, BadRequest, TooLarge, UnsupportedMedia),
    },
    openapi_extra={"x-upload": True, "requestBody": file_request_body()},
)
def upload_file(
    campaign_id: str,
    unit: UnitDep,
    received: ReceivedDep,
    request: Request,
    response: Response,
    asked: Annotated[AskedIn, Depends(_asked)],
    filename: Annotated[Name, Query(description="Its name; a barcode in it counts.")] = "upload",
    format: Annotated[
        Name | None, Query(description="Its format, where it is not to be recognised.")
    ] = None,
    decimal: Annotated[Literal[".", ","] | None, Query(description="Decimal sign.")] = None,
    commit: Annotated[
        Literal["no", "auto"], Query(description="`auto`: at once, where nothing is open.")
    ] = "no",
) -> UploadOut:
    """Send a reader's file or a table, as the instrument or program wrote it. It is recognised,
    joined to the plate by its barcode, judged and shown; nothing counts before the commit.

    A file that cannot be read is refused with line, reason and fix; its original is kept.
    """
    media_type = request.headers.get("content-type", "application/octet-stream")[:100]
    file = Arrived(
        filename, media_type, received.sha256, received.file.read(), format, decimal, asked,
        commit == "auto",
    )  # fmt: skip
    upload, outcome = UploadService(unit).take(campaign_id, file)
    response.status_code = 200 if outcome == "existing" else 201
    if upload.state == "queued":
        response.status_code = 202
    response.headers["Location"] = f"/v1/uploads/{upload.id}"
    return _describe(upload, outcome)


@router.get("/uploads", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_uploads(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    campaign: Annotated[Name | None, Query(description="Of this campaign, by id.")] = None,
    state: Annotated[UploadState | None, Query(description="In this state.")] = None,
) -> PageOut[UploadSummaryOut]:
    """Every file that was sent, refused ones included, oldest first."""
    uploads = UploadService(unit).uploads
    rows = uploads.page(page, uploads.listed(campaign, state))
    return page_out(request, response, rows, UploadSummaryOut.model_validate)


@router.get(
    "/uploads/{upload_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_upload(upload_id: str, unit: UnitDep) -> UploadOut:
    """One file: what was found in it at the last look, and what became of it."""
    return _describe(UploadService(unit).uploads.get(upload_id), "existing")


@router.get(
    "/uploads/{upload_id}/original",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses={
        200: {
            "content": {"application/octet-stream": {}},
            "description": "The bytes as they came.",
        },
        **documented(NotFound, Invalid),
    },
)
def get_upload_original(upload_id: str, unit: UnitDep) -> Response:
    """The file, byte for byte."""
    upload = UploadService(unit).uploads.get(upload_id)
    content = unit.parts.artifacts.get(upload.original)
    # Never rendered by a browser: somebody else's bytes.
    headers = {"Content-Disposition": f'attachment; filename="{upload.id}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.post(
    "/uploads/{upload_id}/commit",
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def commit_upload(
    upload_id: str,
    body: AskedIn,
    unit: UnitDep,
    dry_run: Annotated[bool, Query(description="Look again, store nothing.")] = False,
) -> UploadOut:
    """Take what a file says into the campaign, or say everything that stands in the way. What is
    left out here stays as it was said with the file."""
    upload, preview = UploadService(unit).confirm(upload_id, body, dry_run=dry_run)
    return _describe(upload, "checked" if dry_run else "stored", preview)


@router.post(
    "/plates/{plate_id}/flags",
    status_code=201,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def flag_wells(plate_id: str, body: FlagsIn, unit: UnitDep) -> list[FlagOut]:
    """Say that wells, or the whole plate, must not be counted. Readings stay; a flag can be
    lifted and is never deleted."""
    service = PlateQualityService(unit)
    made = service.flag(service.plates.get(plate_id), body)
    return [describe_flag(flag) for flag in made]


@router.post(
    "/flags/{flag_id}/lift",
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def lift_flag(flag_id: str, body: LiftIn, unit: UnitDep) -> FlagOut:
    """Take a flag back; what it took out counts again."""
    service = PlateQualityService(unit)
    return describe_flag(service.lift(service.flags.get(flag_id), body))


@router.post(
    "/plates/{plate_id}/normalise",
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def normalise_plate(plate_id: str, body: NormaliseIn, unit: UnitDep) -> PlateResultOut:
    """Derive the plate's viabilities anew, from its kept readings, by this rule. Wells that
    differ get new versions, and the next recommendation learns from those."""
    service = PlateQualityService(unit)
    return describe_result(service.normalise(service.plates.get(plate_id), body))


@router.get(
    "/plates/{plate_id}/quality",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_plate_quality(plate_id: str, unit: UnitDep) -> PlateQualityOut:
    """Every verdict on a plate, its flags, and what was read of it."""
    service = PlateQualityService(unit)
    return service.describe(service.plates.get(plate_id))


@router.get(
    "/plates/{plate_id}/readings.csv",
    dependencies=[needs(scopes.READ)],
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/csv": {}}, "description": "A line for each well of each read."},
        **documented(NotFound, Invalid),
    },
)
def get_plate_readings(plate_id: str, unit: UnitDep) -> Response:
    """Every reading of a plate as the instrument gave it, and what became of it."""
    service = PlateQualityService(unit)
    rows = service.readings_table(service.plates.get(plate_id))
    text = "".join(csv_lines(READINGS_HEADER, rows))
    return Response(text, media_type="text/csv; charset=utf-8")


@router.get("/quality-limits", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def get_quality_limits(unit: UnitDep, response: Response) -> QualityLimitsOut:
    """By what plates are judged. Fractions, not percent; null switches a level off."""
    limits = LimitsService(unit).describe()
    etag.tag(response, limits.version)
    return limits


@router.put(
    "/quality-limits",
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses=documented(Invalid, Conflict, PreconditionFailed, PreconditionRequired),
)
def edit_quality_limits(
    body: QualityLimitsIn, unit: UnitDep, response: Response, if_match: etag.IfMatch = None
) -> QualityLimitsOut:
    """Replace the limits. Plates that were judged keep their verdicts until they are normalised
    again."""
    limits = LimitsService(unit).edit(body, if_match)
    etag.tag(response, limits.version)
    return limits


def _describe(upload: Upload, outcome: str, preview: Preview | None = None) -> UploadOut:
    shown = Preview.model_validate(upload.preview) if preview is None else preview
    waits = upload.state == "parsed" or outcome == "checked"
    own = set(UploadOut.model_fields) - {"outcome", "preview", "open"}
    return UploadOut(
        outcome=outcome,
        preview=shown,
        open=[note.message for note in shown.open] if waits else [],
        **{name: getattr(upload, name) for name in own},
    )
