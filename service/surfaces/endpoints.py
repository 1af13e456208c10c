"""`/v1/campaigns/{id}/surfaces`; `/v1/surface-fits`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from service.campaigns.schemas import BlockShape
from service.kit.auth import scopes
from service.kit.csv_out import csv_text
from service.kit.jobs.endpoints import accepted
from service.kit.jobs.schemas import JobOut
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import Conflict, Invalid, NotFound, documented
from service.kit.schemas import Name
from service.kit.unit import UnitDep, UnitRoute, needs
from service.surfaces.schemas import (
    SurfaceBlock,
    SurfaceBlocksOut,
    SurfaceFitOut,
    SurfaceSamplesIn,
    SurfacesIn,
    TemplateOut,
)
from service.surfaces.service import SurfaceService

router = APIRouter(route_class=UnitRoute, tags=["surfaces"])

Line = Annotated[Name, Query(description="By name or id.")]


@router.post(
    "/campaigns/{campaign_id}/surfaces",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def fit_surfaces(campaign_id: str, body: SurfacesIn, unit: UnitDep, response: Response) -> JobOut:
    """Learn whole dose-response surfaces from all measured blocks. Every model is judged on
    held-out pairs beside Bliss and others, the best one is served. The job's result names the fit.
    """
    service = SurfaceService(unit)
    return accepted(service.fit(service.campaigns.campaigns.get(campaign_id), body.seed), response)


@router.post(
    "/campaigns/{campaign_id}/surface-samples",
    status_code=202,
    dependencies=[needs(scopes.MODELS_RUN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def sample_surface(
    campaign_id: str, body: SurfaceSamplesIn, unit: UnitDep, response: Response
) -> JobOut:
    """Draw missing wells and further replicates of one block, given what was measured of it. The
    job's result holds them under `samples`, labelled synthetic and never stored as measurements; it
    says how much likelier held-out blocks are than around Bliss, and whether to trust it."""
    service = SurfaceService(unit)
    return accepted(service.sample(service.campaigns.campaigns.get(campaign_id), body), response)


@router.get(
    "/campaigns/{campaign_id}/surfaces",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def list_surface_fits(
    campaign_id: str, unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[SurfaceFitOut]:
    """The surface fits of a campaign, oldest first."""
    service = SurfaceService(unit)
    campaign = service.campaigns.campaigns.get(campaign_id)
    rows = service.fits.page(page, service.fits.of_campaign(campaign.id))
    return page_out(request, response, rows, SurfaceFitOut.model_validate)


@router.get(
    "/surface-fits/{surface_fit_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_surface_fit(surface_fit_id: str, unit: UnitDep) -> SurfaceFitOut:
    """One fit: which model is served, and the held-out evidence of all."""
    return SurfaceFitOut.model_validate(SurfaceService(unit).fits.get(surface_fit_id))


@router.get(
    "/surface-fits/{surface_fit_id}/blocks",
    dependencies=[needs(scopes.READ)],
    response_model=SurfaceBlocksOut,
    responses={
        200: {"content": {"text/csv": {}}, "description": "Surfaces, to plot or to compute with."},
        **documented(NotFound, Invalid),
    },
)
def list_surface_blocks(
    surface_fit_id: str,
    unit: UnitDep,
    cell_line: Line,
    compound: Annotated[
        Name | None, Query(description="Only pairs with this compound, by name or id.")
    ] = None,
    partner: Annotated[Name | None, Query(description="And with this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 20,
    format: Annotated[Literal["json", "csv"], Query(description="How to write it.")] = "json",
) -> SurfaceBlocksOut | Response:
    """Whole surfaces with bands, margins, measured wells, and which wells to measure next."""
    service = SurfaceService(unit)
    fit = service.fits.get(surface_fit_id)
    items = service.blocks(fit, (compound, partner), cell_line, limit)
    if format == "csv":
        rows = [row for item in items for row in _csv_rows(SurfaceBlock.model_validate(item))]
        return Response(csv_text(_CSV_HEADER, rows), media_type="text/csv; charset=utf-8")
    blocks = [SurfaceBlock.model_validate(item) for item in items]
    return SurfaceBlocksOut(surface_fit_id=fit.id, served=fit.served, items=blocks)


@router.get(
    "/surface-fits/{surface_fit_id}/next-wells",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_next_wells(
    surface_fit_id: str,
    unit: UnitDep,
    cell_line: Line,
    compound: Annotated[Name, Query(description="By name or id.")],
    partner: Annotated[Name, Query(description="The other one, by name or id.")],
    block_shape: Annotated[
        BlockShape | None, Query(description="Of the template; null: that of the campaign.")
    ] = None,
    count: Annotated[int, Query(ge=1, le=256, description="At most so many.")] = 16,
) -> TemplateOut:
    """The wells of a block template in the order in which they teach most of its surface."""
    service = SurfaceService(unit)
    fit = service.fits.get(surface_fit_id)
    found = service.template(fit, (compound, partner), cell_line, block_shape, count)
    return TemplateOut.model_validate(found)


_CSV_HEADER = [
    *["compound_1", "dose_1_um", "compound_2", "dose_2_um", "cell_line"],
    *["bliss", "mean", "low_50", "high_50", "low_90", "high_90", "measured", "n_wells"],
]


def _csv_rows(block: SurfaceBlock) -> list[list[object]]:
    ends = [block.bliss, block.mean, block.low_50, block.high_50, block.low_90, block.high_90]
    first, second = (one.name for one in block.compounds)
    return [
        [
            *[first, a, second, b, block.cell_line.name],
            *[grid[i][j] for grid in ends],
            *[block.measured[i][j], block.n_wells[i][j]],
        ]
        for i, a in enumerate(block.doses_um[0])
        for j, b in enumerate(block.doses_um[1])
    ]
