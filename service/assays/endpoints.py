"""`/v1/campaigns/{id}/submissions`, `/v1/submissions`, `/v1/measurements`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.assays import later
from service.assays.field_maps.service import FieldMapService
from service.assays.intake import declare, table_from
from service.assays.repository import MeasurementRepository
from service.assays.schemas import (
    ComponentOut,
    CorrectionIn,
    MeasurementOut,
    Quantity,
    ScaleUnit,
    SubmissionOut,
    describe_submission,
    submission_request_body,
)
from service.assays.service import SubmissionService
from service.assays.tables import Measurement, Submission
from service.assays.tables_in import Declaration
from service.campaigns.service import CampaignService
from service.kit.auth import scopes
from service.kit.csv_out import csv_lines
from service.kit.jobs import Job
from service.kit.jobs.schemas import JobOut, describe_job
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import (
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    TooLarge,
    UnsupportedMedia,
    documented,
)
from service.kit.schemas import Name, Text
from service.kit.unit import ReceivedDep, Unit, UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["measurements"])


def _declaration(
    quantity: Annotated[Quantity | None, Query(description="What the values say.")] = None,
    unit: Annotated[ScaleUnit | None, Query(description="How they say it.")] = None,
    dose_unit: Annotated[Name | None, Query(description="Such as uM or nM.")] = None,
    decimal: Annotated[Literal[".", ","] | None, Query(description="Decimal sign.")] = None,
    cell_line: Annotated[Name | None, Query(description="For a table without that column.")] = None,
    confirm_scale: Annotated[bool, Query(description="Accept an unlikely scale.")] = False,
    repeats: Annotated[
        Literal["refuse", "replicates"],
        Query(description="Equal rows: refuse them, or number them as replicates."),
    ] = "refuse",
) -> Declaration:
    """What a CSV header does not say. JSON bodies say it themselves."""
    return declare(quantity, unit, dose_unit, decimal, cell_line, confirm_scale, repeats)


@router.post(
    "/campaigns/{campaign_id}/submissions",
    status_code=201,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses={
        200: {"model": SubmissionOut, "description": "Submitted before, or only checked."},
        202: {"model": JobOut, "description": "A worker will store it (`async=true`)."},
        **documented(NotFound, Conflict, Invalid, BadRequest, TooLarge, UnsupportedMedia),
    },
    openapi_extra={"x-upload": True, "requestBody": submission_request_body()},
)
def submit_measurements(
    campaign_id: str,
    unit: UnitDep,
    received: ReceivedDep,
    request: Request,
    response: Response,
    declared: Annotated[Declaration, Depends(_declaration)],
    dry_run: Annotated[bool, Query(description="Check everything, store nothing.")] = False,
    note: Annotated[Text | None, Query(description="A remark to keep with it.")] = None,
    field_map: Annotated[
        Name | None, Query(description="Name of the map of its columns, or id of a version.")
    ] = None,
    asynchronous: Annotated[
        bool, Query(alias="async", description="Store it by a job, with progress: 202.")
    ] = False,
    prefer: Annotated[
        str | None, Header(max_length=200, description="`respond-async` is the same.")
    ] = None,
) -> SubmissionOut | JobOut:
    """Submit assay results as JSON or as a CSV long table. All of it is stored, or nothing.

    The same bytes submitted twice are stored once. Viability or inhibition, fraction or percent:
    the header or the query says which; nothing is guessed.
    """
    service = SubmissionService(unit)
    settings = unit.parts.settings
    content_type = request.headers.get("content-type", "")
    merged, row, header_map = FieldMapService(unit).apply(field_map, declared)
    table = table_from(
        received,
        content_type,
        merged,
        max_rows=settings.max_upload_rows,
        max_json_bytes=settings.max_body_bytes,
        note=note,
        header_map=header_map,
        field_map_id=None if row is None else row.id,
    )
    if later.prefers_later(asynchronous, prefer):
        return _later(later.ask(unit, campaign_id, table, declared, dry_run=dry_run), response)
    submission, outcome = service.submit(campaign_id, table, dry_run=dry_run)
    if outcome == "stored":
        response.headers["Location"] = f"/v1/submissions/{submission.id}"
    else:
        response.status_code = 200
    return describe_submission(submission, outcome)


@router.get(
    "/campaigns/{campaign_id}/submissions",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_submissions(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[SubmissionOut]:
    """What was submitted to a campaign, oldest first."""
    service = SubmissionService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.submissions.page(page, service.submissions.of_campaign(campaign.id))
    return page_out(request, response, rows, describe_submission)


@router.get(
    "/submissions/{submission_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_submission(submission_id: str, unit: UnitDep) -> SubmissionOut:
    """One submission."""
    return describe_submission(SubmissionService(unit).submissions.get(submission_id))


@router.get(
    "/submissions/{submission_id}/original",
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
def get_submission_original(submission_id: str, unit: UnitDep) -> Response:
    """The submitted file, byte for byte."""
    submission = SubmissionService(unit).submissions.get(submission_id)
    content = unit.parts.artifacts.get(submission.original)
    # Never rendered by a browser: somebody else's bytes.
    headers = {"Content-Disposition": f'attachment; filename="{submission.id}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get(
    "/campaigns/{campaign_id}/measurements",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_measurements(
    campaign_id: str,
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    versions: Annotated[
        Literal["current", "all"],
        Query(description="`all` includes corrected and withdrawn versions."),
    ] = "current",
) -> PageOut[MeasurementOut]:
    """The wells of a campaign, oldest first."""
    campaign = CampaignService(unit).campaigns.get(campaign_id)
    measurements = MeasurementRepository(unit.session, unit.principal)
    statement = measurements.of_campaign(campaign.id, current=versions == "current")
    return page_out(request, response, measurements.page(page, statement), describe_measurement)


@router.get(
    "/campaigns/{campaign_id}/measurements.csv",
    dependencies=[needs(scopes.READ)],
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/csv": {}}, "description": "All current wells."},
        **documented(NotFound, Invalid),
    },
)
def export_measurements(campaign_id: str, unit: UnitDep) -> StreamingResponse:
    """All current wells as one CSV that this service, and SynergyFinder with little, reads back."""
    campaigns = CampaignService(unit)
    campaign = campaigns.campaigns.get(campaign_id)
    names = dict(campaigns.cell_lines.members(campaign.id))
    names.update({row[0]: row[1] for row in campaigns.compounds.members(campaign.id)})
    rows = _export_rows(unit, campaign.id, names)
    return StreamingResponse(
        csv_lines(_EXPORT_HEADER, rows),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{campaign.id}.csv"'},
    )


@router.get(
    "/measurements/{measurement_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_measurement(measurement_id: str, unit: UnitDep) -> MeasurementOut:
    """One version of one well."""
    measurements = MeasurementRepository(unit.session, unit.principal)
    return describe_measurement(measurements.get(measurement_id))


@router.post(
    "/measurements/{measurement_id}/corrections",
    status_code=201,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def correct_measurement(measurement_id: str, body: CorrectionIn, unit: UnitDep) -> MeasurementOut:
    """Correct or withdraw a well. The former version stays; the reason is recorded."""
    service = SubmissionService(unit)
    measurement = service.measurements.get(measurement_id)
    return describe_measurement(service.correct(measurement, body))


def describe_measurement(row: Measurement) -> MeasurementOut:
    """What the outside sees of a well."""
    return MeasurementOut(
        id=row.id,
        submission_id=row.submission_id,
        row=row.row,
        cell_line=row.cell_line_id,
        doses=[
            ComponentOut(compound=compound, dose_um=dose)
            for compound, dose in _components(row)
            if compound is not None and dose is not None
        ],
        viability=row.viability,
        raw_value=row.raw_value,
        plate=row.plate,
        well=row.well,
        replicate=row.replicate,
        block=row.block,
        version=row.version,
        corrects=row.corrects_id,
        withdrawn=row.withdrawn,
        reason=row.reason,
        created_by=row.created_by,
        created_at=row.created_at,
    )


def _components(row: Measurement) -> list[tuple[str | None, float | None]]:
    return [
        (row.compound_a_id, row.dose_a_um),
        (row.compound_b_id, row.dose_b_um),
        (row.compound_c_id, row.dose_c_um),
    ]


_EXPORT_HEADER = [
    "measurement_id",
    "cell_line",
    "compound_1",
    "dose_1_um",
    "compound_2",
    "dose_2_um",
    "compound_3",
    "dose_3_um",
    "viability_fraction",
    "plate",
    "well",
    "replicate",
    "block",
    "version",
]


def _export_rows(unit: Unit, campaign_id: str, names: dict[str, str]) -> Iterator[list[object]]:
    # The unit's own session ends before a stream does.
    with unit.parts.database.reading() as session:
        measurements = MeasurementRepository(session, unit.principal)
        for row in measurements.stream(campaign_id):
            cells: list[object] = [row.id, names[row.cell_line_id]]
            for compound, dose in _components(row):
                cells += [names[compound] if compound else None, dose]
            labels = [row.plate, row.well, row.replicate, row.block]
            yield [*cells, row.viability, *labels, row.version]


def _later(found: Submission | Job, response: Response) -> SubmissionOut | JobOut:
    if isinstance(found, Submission):
        response.status_code = 200
        return describe_submission(found, "existing")
    response.status_code, response.headers["Location"] = 202, f"/v1/jobs/{found.id}"
    return describe_job(found)
