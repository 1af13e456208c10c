"""`/v1/batches/{id}/plates`, what a dispenser gets of them, and what it reports back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from service.batches.plates_out.exporting import BatchExports
from service.batches.plates_out.reports import TransferReportService
from service.batches.plates_out.schemas import (
    AppliedReportOut,
    CancellationIn,
    LayoutOut,
    PlatesIn,
)
from service.batches.plates_out.service import PlatesOutService
from service.batches.plates_out.synergy import synergyfinder_table
from service.campaigns.service import CampaignService
from service.kit.auth import scopes
from service.kit.problems import (
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    TooLarge,
    UnsupportedMedia,
    documented,
)
from service.kit.schemas import Name
from service.kit.unit import ReceivedDep, UnitDep, UnitRoute, needs
from service.plates.endpoints import CSV, PAGE_HEADERS, a_file, require_text

router = APIRouter(route_class=UnitRoute, tags=["plates"])

_REPORT: dict[str, Any] = {
    "required": True,
    "content": {
        kind: {
            "schema": {"type": "string"},
            "example": "Run ID,42\r\n\r\n[DETAILS]\r\nSource Plate Barcode,Source Well,"
            "Destination Plate Barcode,Destination Well,Transfer Volume,Actual Volume,"
            "Transfer Status\r\nSRC1,A1,P7K3M9Q00014,B2,25,25,\r\n",
        }
        for kind in ("text/csv", "text/plain")
    },
}


@router.post(
    "/batches/{batch_id}/plates",
    status_code=201,
    dependencies=[needs(scopes.BATCHES_WRITE)],
    responses={
        200: {"model": LayoutOut, "description": "What it would be (dry_run)."},
        **documented(NotFound, Conflict, Invalid),
    },
)
def lay_out_batch(
    batch_id: str,
    body: PlatesIn,
    unit: UnitDep,
    response: Response,
    dry_run: Annotated[
        bool, Query(description="Count plates and volumes, name conflicts, store nothing.")
    ] = False,
) -> LayoutOut:
    """Put an accepted batch on plates: controls, single agents, replicates, vehicle, barcodes.

    Once for a batch: to do it again, cancel the plates first. No barcode is ever used twice.
    """
    service = PlatesOutService(unit)
    laid_out = service.lay_out(service.batches.get(batch_id), body, dry_run=dry_run)
    if dry_run:
        response.status_code = 200
    else:
        response.headers["Location"] = f"/v1/batches/{batch_id}/plates"
    return laid_out


@router.get(
    "/batches/{batch_id}/plates",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_layout(batch_id: str, unit: UnitDep) -> LayoutOut:
    """The plates of a batch, what they were made by, and what dispensers reported."""
    service = PlatesOutService(unit)
    return service.describe(service.issued(service.batches.get(batch_id)))


@router.post(
    "/batches/{batch_id}/plates/cancellation",
    status_code=201,
    dependencies=[needs(scopes.BATCHES_WRITE)],
    responses=documented(NotFound, Conflict, Invalid),
)
def cancel_layout(batch_id: str, body: CancellationIn, unit: UnitDep) -> LayoutOut:
    """Call the plates of a batch off, so that it can be laid out anew."""
    service = PlatesOutService(unit)
    return service.cancel(service.batches.get(batch_id), body)


@router.get(
    "/batches/{batch_id}/picklist",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses={**documented(Conflict), **a_file("text/csv", "A line a transfer.")},
)
def get_pick_list(
    batch_id: str,
    unit: UnitDep,
    format: Annotated[
        Literal["echo", "worklist"],
        Query(description="`echo`: an Echo pick list in nL; `worklist`: for tip-based robots."),
    ] = "echo",
    volume_unit: Annotated[
        Literal["uL", "nL"], Query(description="Of a worklist; an Echo reads nL.")
    ] = "uL",
) -> Response:
    """Every transfer that makes the plates of a batch."""
    return Response(BatchExports(unit, batch_id).pick_list(format, volume_unit), media_type=CSV)


@router.get(
    "/batches/{batch_id}/d300",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses={**documented(Conflict), **a_file("application/xml", "A D300 protocol.")},
)
def get_d300_protocol(batch_id: str, unit: UnitDep) -> Response:
    """The plates of a batch as a protocol of the Tecan D300 and D300e."""
    return Response(BatchExports(unit, batch_id).d300(), media_type="application/xml")


@router.get(
    "/batches/{batch_id}/plates.csv",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses=a_file("text/csv", "A line a well."),
)
def get_batch_plate_maps(batch_id: str, unit: UnitDep) -> Response:
    """All plates of a batch as one long table, as they are now."""
    return Response(BatchExports(unit, batch_id).maps(), media_type=CSV)


@router.get(
    "/batches/{batch_id}/page",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses=a_file("text/html", "A page a plate."),
)
def get_batch_page(batch_id: str, unit: UnitDep) -> Response:
    """All plates of a batch to print: heat map, legend and barcode, a page each."""
    html = BatchExports(unit, batch_id).page()
    return Response(html, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


@router.post(
    "/batches/{batch_id}/transfer-reports",
    status_code=201,
    dependencies=[needs(scopes.BATCHES_WRITE)],
    responses={
        200: {"model": AppliedReportOut, "description": "The same report came before."},
        **documented(NotFound, Conflict, Invalid, BadRequest, TooLarge, UnsupportedMedia),
    },
    openapi_extra={"x-upload": True, "requestBody": _REPORT},
)
def submit_transfer_report(
    batch_id: str,
    unit: UnitDep,
    received: ReceivedDep,
    request: Request,
    response: Response,
    filename: Annotated[Name | None, Query(description="To find it again.")] = None,
) -> AppliedReportOut:
    """What an Echo really dispensed: wells without a transfer are excluded, doses are corrected.

    All reports of a batch count together, in any order; the same bytes twice change nothing.
    """
    require_text(request.headers.get("content-type", ""))
    service = TransferReportService(unit)
    applied = service.take(service.out.batches.get(batch_id), received, filename)
    if applied.outcome == "existing":
        response.status_code = 200
    return applied


@router.get(
    "/batches/{batch_id}/transfer-reports/{report_id}/original",
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
def get_transfer_report_original(batch_id: str, report_id: str, unit: UnitDep) -> Response:
    """A dispenser's report, byte for byte."""
    service = TransferReportService(unit)
    report, content = service.original(service.out.batches.get(batch_id), report_id)
    headers = {"Content-Disposition": f'attachment; filename="{report.id}.csv"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get(
    "/campaigns/{campaign_id}/export/synergyfinder",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses={**documented(Conflict), **a_file("text/csv", "A line a well.")},
)
def export_synergyfinder(
    campaign_id: str,
    unit: UnitDep,
    incomplete: Annotated[
        Literal["refuse", "leave_out"],
        Query(description="Blocks that lack a single agent or a pair of doses."),
    ] = "refuse",
) -> Response:
    """The measured blocks of a campaign as the long table of SynergyFinder: viability in percent,
    doses in uM."""
    campaign = CampaignService(unit).campaigns.get(campaign_id)
    table = synergyfinder_table(unit, campaign, leave_out=incomplete == "leave_out")
    return Response(table, media_type=CSV)
