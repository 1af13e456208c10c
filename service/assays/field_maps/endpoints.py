"""`/v1/field-maps`"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from models.chemistry.names import fold_name
from service.assays.field_maps.rules import ready_maps
from service.assays.field_maps.schemas import (
    FieldMapIn,
    FieldMapOut,
    ReadyFieldMapOut,
    ReadyFieldMapsOut,
)
from service.assays.field_maps.service import FieldMapService
from service.kit.auth import scopes
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import Invalid, NotFound, documented
from service.kit.schemas import Name
from service.kit.unit import UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["field maps"])


@router.post(
    "/field-maps",
    status_code=201,
    dependencies=[needs(scopes.MEASUREMENTS_WRITE)],
    responses={
        200: {"model": FieldMapOut, "description": "It is so already."},
        **documented(Invalid),
    },
)
def save_field_map(body: FieldMapIn, unit: UnitDep, response: Response) -> FieldMapOut:
    """Name the columns of another system's tables. A known name gets a new version."""
    row, is_new = FieldMapService(unit).save(body)
    response.headers["Location"] = f"/v1/field-maps/{row.id}"
    if not is_new:
        response.status_code = 200
    return FieldMapOut.model_validate(row)


@router.get("/field-maps", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_field_maps(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    name: Annotated[Name | None, Query(description="All versions under this name.")] = None,
) -> PageOut[FieldMapOut]:
    """The field maps of the workspace, every version, oldest first."""
    maps = FieldMapService(unit).maps
    statement = None if name is None else maps.named(fold_name(name))
    return page_out(request, response, maps.page(page, statement), FieldMapOut.model_validate)


@router.get(
    "/field-maps/{field_map_id}",
    dependencies=[needs(scopes.READ)],
    responses=documented(NotFound, Invalid),
)
def get_field_map(field_map_id: str, unit: UnitDep) -> FieldMapOut:
    """One version of a field map."""
    return FieldMapOut.model_validate(FieldMapService(unit).maps.get(field_map_id))


@router.get("/ready-field-maps", dependencies=[needs(scopes.READ)], responses=documented())
def list_ready_field_maps(unit: UnitDep) -> ReadyFieldMapsOut:
    """Maps that come with the service, to be copied under a name of one's own."""
    maps = ready_maps().items()
    return ReadyFieldMapsOut(
        items=[
            ReadyFieldMapOut.model_validate({"name": name, "definition": definition})
            for name, definition in maps
        ]
    )
