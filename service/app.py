"""The one place where the parts meet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service import health
from service.archive import endpoints as archive
from service.archive import jobs as _archive_jobs  # noqa: F401
from service.assays import endpoints as assays
from service.assays import jobs as _assay_jobs  # noqa: F401
from service.assays.field_maps import endpoints as field_maps
from service.assays.schemas import SubmissionIn
from service.assays.uploads import endpoints as uploads
from service.assays.uploads import jobs as _upload_jobs  # noqa: F401
from service.batches import endpoints as batches
from service.batches import jobs as _batch_jobs  # noqa: F401 - kinds of jobs that requests ask for
from service.batches.plates_out import endpoints as plates_out
from service.campaigns import endpoints as campaigns
from service.cell_lines import endpoints as cell_lines
from service.compounds import endpoints as compounds
from service.datasets import endpoints as datasets
from service.datasets import jobs as _dataset_jobs  # noqa: F401
from service.integrations import endpoints as integrations
from service.kit import problems
from service.kit.audit import endpoints as audit
from service.kit.auth import endpoints as keys
from service.kit.jobs import endpoints as jobs
from service.kit.parts import Parts
from service.kit.problems import (
    BadRequest,
    Forbidden,
    ProblemBody,
    TooLarge,
    Unauthenticated,
    Unavailable,
    documented,
)
from service.kit.requests import RequestNames
from service.learning import endpoints as learning
from service.learning import jobs as _learning_jobs  # noqa: F401
from service.plates import endpoints as plates
from service.settings import Settings
from service.surfaces import endpoints as surfaces
from service.surfaces import jobs as _surface_jobs  # noqa: F401
from service.triage import endpoints as triage
from service.triage import jobs as _triage_jobs  # noqa: F401
from service.web import reference

_ROUTERS = (
    compounds.router,
    cell_lines.router,
    campaigns.router,
    assays.router,
    field_maps.router,
    uploads.router,
    datasets.router,
    learning.router,
    surfaces.router,
    triage.router,
    batches.router,
    plates.router,
    plates_out.router,
    archive.router,
    jobs.router,
    integrations.router,
    keys.router,
    audit.router,
)

_DESCRIPTION = (
    "Active learning for drug-combination discovery: measurements go in, one posterior is learned, "
    "the next plates come out. Errors are RFC 9457 problems; every POST takes an "
    "`Idempotency-Key`; lists are paged with opaque cursors; changes need `If-Match`."
)


def create_app(settings: Settings | None = None, parts: Parts | None = None) -> FastAPI:
    """The whole HTTP service over ``parts``."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.parts.database.dispose()

    app = FastAPI(
        title="Nextround",
        version=version("nextround"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
        redirect_slashes=False,
        docs_url=None,  # FastAPI's own pages load scripts from a CDN; ours are in service/web
        redoc_url=None,
    )
    app.state.parts = parts or Parts.of(settings)
    v1 = APIRouter(
        prefix="/v1",
        responses=documented(
            BadRequest, Unauthenticated, Forbidden, TooLarge, problems.Invalid, Unavailable
        ),
    )
    for router in _ROUTERS:
        v1.include_router(router)
    app.include_router(v1)
    app.include_router(health.router)
    app.include_router(reference.router)
    app.add_middleware(RequestNames)
    problems.install(app)
    _document(app)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _document(app: FastAPI) -> None:
    """Finish the OpenAPI document: our error schema, the idempotency header, 415 for every body."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = make()
            components = schema["components"]["schemas"]
            for model in (ProblemBody, SubmissionIn):  # no endpoint takes or returns these
                components.update(_schemas_of(model))
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    _document_operation(path, method, operation)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _schemas_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _document_operation(path: str, method: str, operation: dict[str, Any]) -> None:
    if method == "post" and path.startswith("/v1/"):
        operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
    if method == "get" and path.startswith("/v1/"):
        _document_condition(operation)
    if "requestBody" in operation:
        operation["responses"].setdefault("415", documented(problems.UnsupportedMedia)[415])


def _document_condition(operation: dict[str, Any]) -> None:
    """Every JSON document can be polled for a few bytes while it stays the same."""
    if "application/json" not in operation["responses"]["200"].get("content", {}):
        return
    operation["responses"].setdefault("304", {"description": "You have it (If-None-Match)."})
    parameters = operation.setdefault("parameters", [])
    if all(one["name"].lower() != "if-none-match" for one in parameters):
        parameters.append(_IF_NONE_MATCH)


_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what you have: 304 without a body while it is still that.",
    "schema": {"type": "string", "maxLength": 200},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Send the same key with the same body again to get the first answer again "
    "instead of a second effect. Kept for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
