"""`/v1/compounds`"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from models.chemistry.names import fold_name
from service.compounds.schemas import (
    CompoundOut,
    CompoundPatch,
    CompoundsIn,
    CompoundsRegisteredOut,
    RegisteredOut,
)
from service.compounds.service import CompoundService
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

router = APIRouter(route_class=UnitRoute, tags=["compounds"], prefix="/compounds")


@router.post(
    "",
    status_code=201,
    dependencies=[needs(scopes.COMPOUNDS_WRITE)],
    responses=documented(Invalid, Conflict),
)
def register_compounds(body: CompoundsIn, unit: UnitDep) -> CompoundsRegisteredOut:
    """Register compounds, all or none. A known structure is not an error: it gains a name."""
    service = CompoundService(unit)
    registered = service.register(body.compounds)
    described = service.describe([line.compound for line in registered])
    items = [
        RegisteredOut(outcome="created" if line.created else "existing", compound=compound)
        for line, compound in zip(registered, described, strict=True)
    ]
    created = sum(line.created for line in registered)
    return CompoundsRegisteredOut(created=created, existing=len(items) - created, items=items)


@router.get("", dependencies=[needs(scopes.READ)], responses=documented(Invalid))
def list_compounds(
    unit: UnitDep,
    page: PageDep,
    request: Request,
    response: Response,
    name: Annotated[Name | None, Query(description="Exactly this name.")] = None,
) -> PageOut[CompoundOut]:
    """The compounds of the workspace, oldest first."""
    service = CompoundService(unit)
    if name is not None:
        found = service.compounds.named(fold_name(name))
        rows: Page[CompoundOut] = Page(service.describe([found] if found else []), None)
    else:
        plain = service.compounds.page(page)
        rows = Page(service.describe(plain.items), plain.next_cursor)
    return page_out(request, response, rows, lambda row: row)


@router.get(
    "/{compound_id}", dependencies=[needs(scopes.READ)], responses=documented(NotFound, Invalid)
)
def get_compound(compound_id: str, unit: UnitDep, response: Response) -> CompoundOut:
    """One compound with its names and registered forms."""
    service = CompoundService(unit)
    compound = service.compounds.get(compound_id)
    etag.tag(response, compound.version)
    return service.describe([compound])[0]


@router.patch(
    "/{compound_id}",
    dependencies=[needs(scopes.COMPOUNDS_WRITE)],
    responses=documented(NotFound, Conflict, PreconditionFailed, PreconditionRequired, Invalid),
)
def change_compound(
    compound_id: str,
    body: CompoundPatch,
    unit: UnitDep,
    response: Response,
    if_match: etag.IfMatch = None,
) -> CompoundOut:
    """Rename a compound, add names, or give a structure to one that has none."""
    service = CompoundService(unit)
    compound = service.compounds.get(compound_id)
    etag.check(if_match, compound.version)
    service.patch(compound, body)
    etag.tag(response, compound.version)
    return service.describe([compound])[0]
