"""`/v1/cell-lines`"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from models.chemistry.names import fold_name
from service.cell_lines.schemas import (
    CellLineFeaturesOut,
    CellLineOut,
    CellLinePatch,
    CellLinesIn,
    CellLinesRegisteredOut,
)
from service.cell_lines.service import CellLineService
from service.cell_lines.tables import CellLine
from service.kit import etag
from service.kit.auth import scopes
from service.kit.pagination import Page, PageDep, PageOut, page_out
from service.kit.problems import (
    Conflict,
    Invalid,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    documented,
)
from service.kit.schemas import Name
from service.kit.unit import UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["cell lines"], prefix="/cell-lines")


@router.post(
    "",
    status_code=201,
    dependencies=[needs(scopes.CELL_LINES_WRITE)],
    responses=documented(Invalid, Conflict),
)
def register_cell_lines(body: CellLinesIn, unit: UnitDep) -> CellLinesRegisteredOut:
    """Register cell lines, all or none. A known name is that line: nothing is registered twice."""
    registered = CellLineService(unit).register(body.cell_lines)
    created = sum(one.created for one in registered)
    return CellLinesRegisteredOut(
        created=created,
        existing=len(registered) - created,
        items=[CellLineOut.model_validate(one.line) for one in registered],
    )


@router.get("", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_cell_lines(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    name: Annotated[Name | None, Query(description="Exactly this name.")] = None,
) -> PageOut[CellLineOut]:
    """The cell lines of the workspace, oldest first."""
    lines = CellLineService(unit).lines
    if name is not None:
        rows: Page[CellLine] = Page(list(lines.by_folded([fold_name(name)]).values()), None)
    else:
        rows = lines.page(page)
    return page_out(request, response, rows, CellLineOut.model_validate)


@router.get(
    "/{cell_line_id}", dependencies=[needs(scopes.READ)], responses=documented(NotFound, Invalid)
)
def get_cell_line(cell_line_id: str, unit: UnitDep, response: Response) -> CellLineOut:
    """One cell line."""
    line = CellLineService(unit).lines.get(cell_line_id)
    etag.tag(response, line.version)
    return CellLineOut.model_validate(line)


@router.get(
    "/{cell_line_id}/features",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_cell_line_features(cell_line_id: str, unit: UnitDep) -> CellLineFeaturesOut:
    """The features of a cell line."""
    service = CellLineService(unit)
    row = service.features_of(service.lines.get(cell_line_id))
    return CellLineFeaturesOut(
        cell_line_id=row.cell_line_id, sha256=row.sha256, features=row.values
    )


@router.patch(
    "/{cell_line_id}",
    dependencies=[needs(scopes.CELL_LINES_WRITE)],
    responses=documented(NotFound, Conflict, PreconditionFailed, PreconditionRequired, Invalid),
)
def change_cell_line(
    cell_line_id: str,
    body: CellLinePatch,
    unit: UnitDep,
    response: Response,
    if_match: etag.IfMatch = None,
) -> CellLineOut:
    """Describe a cell line further, or replace its features."""
    service = CellLineService(unit)
    line = service.lines.get(cell_line_id)
    etag.check(if_match, line.version)
    service.patch(line, body)
    etag.tag(response, line.version)
    return CellLineOut.model_validate(line)
