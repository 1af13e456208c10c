"""`/v1/api-keys`, `/v1/workspace`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.kit.auth import scopes
from service.kit.auth.schemas import ApiKeyIn, ApiKeyOut, NewApiKeyOut, WorkspaceOut
from service.kit.auth.service import ApiKeyService
from service.kit.auth.tables import Workspace
from service.kit.pagination import PageDep, PageOut, page_out
from service.kit.problems import Conflict, Invalid, NotFound, documented
from service.kit.unit import UnitDep, UnitRoute, needs

router = APIRouter(route_class=UnitRoute, tags=["keys"])


@router.get("/workspace", dependencies=[needs(scopes.READ)], responses=documented())
def get_workspace(unit: UnitDep) -> WorkspaceOut:
    """The workspace that your key belongs to."""
    return WorkspaceOut.model_validate(unit.session.get(Workspace, unit.principal.workspace_id))


@router.post(
    "/api-keys",
    status_code=201,
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(Invalid, Conflict),
    response_model=NewApiKeyOut,
)
def create_api_key(body: ApiKeyIn, unit: UnitDep, request: Request) -> NewApiKeyOut:
    """Make a key. Its text is in this answer and nowhere else."""
    service = ApiKeyService(unit.session, unit.principal)
    key, text = service.create(body.name, body.scopes, body.expires_at)
    plain = ApiKeyOut.model_validate(key).model_dump()
    # What an idempotent replay may show: everything but the secret.
    unit.replay_body = NewApiKeyOut(**plain, key=None).model_dump_json()
    return NewApiKeyOut(**plain, key=text)


@router.get("/api-keys", dependencies=[needs(scopes.ADMIN)], responses=documented(Invalid))
def list_api_keys(
    unit: UnitDep, page: PageDep, request: Request, response: Response
) -> PageOut[ApiKeyOut]:
    """The keys of the workspace, without their secrets."""
    keys = ApiKeyService(unit.session, unit.principal).keys
    return page_out(request, response, keys.page(page), ApiKeyOut.model_validate)


@router.delete(
    "/api-keys/{key_id}",
    dependencies=[needs(scopes.ADMIN)],
    responses=documented(NotFound, Conflict, Invalid),
)
def revoke_api_key(key_id: str, unit: UnitDep) -> ApiKeyOut:
    """Revoke a key: it stops working at once and stays in the list."""
    return ApiKeyOut.model_validate(ApiKeyService(unit.session, unit.principal).revoke(key_id))
