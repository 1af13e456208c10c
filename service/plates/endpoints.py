"""`/v1/labware`, `/v1/stocks`, `/v1/plates`, plates of a campaign and its snapped doses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from service.kit import etag
from service.kit.auth import scopes
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
from service.plates.lab_tables import LabTables
from service.plates.schemas import (
    DispensingIn,
    DispensingOut,
    LabwareIn,
    LabwareOut,
    PlateOut,
    PlateSummaryOut,
    StocksIn,
    StocksOut,
    SubmittedPlatesOut,
)
from service.plates.service import PlateService, describe, summarise
from service.plates.snapping import SnappingService

router = APIRouter(route_class=UnitRoute, tags=["plates"])

CSV = "text/csv; charset=utf-8"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}
_CHANGE = documented(Invalid, Conflict, PreconditionFailed, PreconditionRequired)
_TABLE: dict[str, Any] = {
    "required": True,
    "content": {
        kind: {
            "schema": {"type": "string"},
            "example": "barcode,format,well,cell_line,compound_1,dose_1_um,compound_2,dose_2_um\r\n"
            "P1,384,B02,A375,Imatinib,1.0,Vincristine,0.01\r\n",
        }
        for kind in ("text/csv", "text/plain")
    },
}


def a_file(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI ``responses`` for a file as an answer."""
    content = {media_type: {"schema": {"type": "string"}}}
    return {200: {"content": content, "description": what}, **documented(NotFound, Invalid)}


@router.get("/labware", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def get_labware(unit: UnitDep, response: Response) -> LabwareOut:
    """Dispensers, source plate types and assay plates of the lab, with what they can do."""
    table = LabTables(unit).describe_labware()
    etag.tag(response, table.version)
    return table


@router.put("/labware", dependencies=[needs(scopes.BATCHES_WRITE)], responses=_CHANGE)
def edit_labware(
    body: LabwareIn, unit: UnitDep, response: Response, if_match: etag.IfMatch = None
) -> LabwareOut:
    """Replace the labware table. Plates that were issued keep what they were made with."""
    table = LabTables(unit).edit_labware(body, if_match)
    etag.tag(response, table.version)
    return table


@router.get("/stocks", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def get_stocks(unit: UnitDep, response: Response) -> StocksOut:
    """What lies ready for the dispensers: compounds, intermediate dilutions and vehicle."""
    stocks = LabTables(unit).describe_stocks()
    etag.tag(response, stocks.version)
    return stocks


@router.put("/stocks", dependencies=[needs(scopes.BATCHES_WRITE)], responses=_CHANGE)
def edit_stocks(
    body: StocksIn, unit: UnitDep, response: Response, if_match: etag.IfMatch = None
) -> StocksOut:
    """Replace all stocks. Volumes are what you say: plates that were issued do not reduce them."""
    stocks = LabTables(unit).edit_stocks(body, if_match)
    etag.tag(response, stocks.version)
    return stocks


@router.get(
    "/campaigns/{campaign_id}/dispensing",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_dispensing(campaign_id: str, unit: UnitDep, response: Response) -> DispensingOut:
    """The doses of a campaign as they are dispensed, each with the nominal one. The ETag is that
    of the campaign."""
    service = SnappingService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    etag.tag(response, campaign.version)
    return service.describe(campaign)


@router.put(
    "/campaigns/{campaign_id}/dispensing",
    dependencies=[needs(scopes.CAMPAIGNS_WRITE)],
    responses={**documented(NotFound), **_CHANGE},
)
def snap_doses_of_campaign(
    campaign_id: str,
    body: DispensingIn,
    unit: UnitDep,
    response: Response,
    if_match: etag.IfMatch = None,
) -> DispensingOut:
    """Make every dose of a campaign one that can be dispensed. From then on the real doses are
    scored and recommended. Do this before the first recommendation."""
    service = SnappingService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    etag.check(if_match, campaign.version)
    service.snap(campaign, body)
    etag.tag(response, campaign.version)
    return service.describe(campaign)


@router.post(
    "/campaigns/{campaign_id}/plates",
    status_code=201,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses={
        200: {"model": SubmittedPlatesOut, "description": "All of them were known."},
        **documented(NotFound, Conflict, Invalid, BadRequest, TooLarge, UnsupportedMedia),
    },
    openapi_extra={"x-upload": True, "requestBody": _TABLE},
)
def submit_plates(
    campaign_id: str,
    unit: UnitDep,
    received: ReceivedDep,
    request: Request,
    response: Response,
    format: Annotated[
        Literal["96", "384", "1536"] | None,
        Query(description="Wells of a plate, for a table without the column `format`."),
    ] = None,
) -> SubmittedPlatesOut:
    """Tell us of plates that were laid out elsewhere, so that their readings have meaning: CSV, a
    line a well, the columns of our own `map.csv`."""
    require_text(request.headers.get("content-type", ""))
    service = PlateService(unit)
    campaign = service.campaigns.get(campaign_id)
    size = None if format is None else int(format)
    created, existing = service.submit(campaign, received.file.read(), size)
    if not created:
        response.status_code = 200
    rows = sorted([*created, *existing], key=lambda row: row.id)
    plates = [summarise(row) for row in rows]
    return SubmittedPlatesOut(created=len(created), existing=len(existing), plates=plates)


@router.get("/plates", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_plates(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    campaign: Annotated[Name | None, Query(description="Plates of this campaign, by id.")] = None,
    batch: Annotated[Name | None, Query(description="Plates of this batch, by id.")] = None,
    barcode: Annotated[Name | None, Query(description="The plate with this barcode.")] = None,
) -> PageOut[PlateSummaryOut]:
    """The plates of the workspace, cancelled ones included, oldest first."""
    plates = PlateService(unit).plates
    rows = plates.page(page, plates.listed(campaign, batch, barcode))
    return page_out(request, response, rows, summarise)


@router.get(
    "/plates/{plate_id}", dependencies=[needs(scopes.READ)], responses=documented(NotFound, Invalid)
)
def get_plate(plate_id: str, unit: UnitDep, response: Response) -> PlateOut:
    """One plate and what is in its wells now: real doses, and wells that failed."""
    plate = PlateService(unit).plates.get(plate_id)
    etag.tag(response, plate.version)
    return describe(plate)


@router.get(
    "/plates/{plate_id}/map.csv",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses=a_file("text/csv", "A line a well."),
)
def get_plate_map(plate_id: str, unit: UnitDep) -> Response:
    """The plate as a long table with names: nominal and real doses, volumes, failed wells."""
    service = PlateService(unit)
    return Response(service.map_csv([service.plates.get(plate_id)]), media_type=CSV)


@router.get(
    "/plates/{plate_id}/grid.csv",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses=a_file("text/csv", "The plate as a grid."),
)
def get_plate_grid(
    plate_id: str,
    unit: UnitDep,
    show: Annotated[
        Literal["role", "contents", "block", "cell_line", "vehicle_nl"],
        Query(description="What each cell says."),
    ] = "contents",
) -> Response:
    """The plate as it lies on the bench: letters down, numbers across."""
    service = PlateService(unit)
    return Response(service.grid_csv(service.plates.get(plate_id), show), media_type=CSV)


@router.get(
    "/plates/{plate_id}/page",
    dependencies=[needs(scopes.READ)],
    response_class=Response,
    responses=a_file("text/html", "A page to print."),
)
def get_plate_page(plate_id: str, unit: UnitDep) -> Response:
    """The plate as a page to print: heat map, legend and barcode."""
    service = PlateService(unit)
    html = service.page([service.plates.get(plate_id)])
    return Response(html, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


def require_text(content_type: str) -> None:
    """Refuse a file that is said to be something else than text."""
    media_type, _, parameters = content_type.lower().partition(";")
    if media_type.strip() not in ("text/csv", "text/plain", "text/tab-separated-values"):
        given = media_type.strip()[:60] or "(none)"
        raise UnsupportedMedia(f"Send the table as Content-Type: text/csv, not {given!r}.")
    if "charset=" in parameters and "utf-8" not in parameters:
        raise UnsupportedMedia("Only charset=utf-8 is read. Save the table as UTF-8.")
