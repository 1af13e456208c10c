"""RFC 9457 problem details: one exception family, one body, one place of handlers.

A problem never echoes the input: the input may be confidential, and may be what JSON refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
_LONGEST_STEP = 100


class FieldError(BaseModel):
    """One thing wrong with the input: where it is, what is wrong, how to mend it."""

    code: str = Field(description="Stable short name of the rule that was broken.")
    message: str = Field(description="What is wrong and how to fix it, in words.")
    pointer: str | None = Field(None, description="JSON pointer, or `query/NAME`, `header/NAME`.")
    row: int | None = Field(
        None, description="Line of the file (header = 1), or index in the list."
    )
    column: str | None = Field(None, description="Column of the file.")


class ProblemBody(BaseModel):
    """The body of every error answer (RFC 9457)."""

    type: str = Field(description="Stable name of the kind of problem, a relative URI.")
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="Request id, for the operator's log.")
    errors: list[FieldError] = Field(default_factory=list, description="At most 100 of them.")
    error_count: int = Field(0, description="How many errors there are in all.")


class Problem(Exception):
    """Base of every error that the service answers on purpose."""

    status: ClassVar[int] = 400
    slug: ClassVar[str] = "bad-request"
    title: ClassVar[str] = "The request cannot be understood"

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        error_count: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors[:MAX_ERRORS])
        self.error_count = len(errors) if error_count is None else error_count
        self.headers = dict(headers or {})


class BadRequest(Problem):
    pass


class Unauthenticated(Problem):
    status, slug, title = 401, "unauthenticated", "A valid API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="nextround"'})


class Forbidden(Problem):
    status, slug, title = 403, "forbidden", "This key may not do that"


class NotFound(Problem):
    status, slug, title = 404, "not-found", "There is no such thing in this workspace"


class Conflict(Problem):
    status, slug, title = 409, "conflict", "The present state does not allow that"


class PreconditionFailed(Problem):
    status, slug, title = 412, "stale", "Somebody changed it since you read it"


class TooLarge(Problem):
    status, slug, title = 413, "too-large", "The request is too large"


class UnsupportedMedia(Problem):
    status, slug, title = 415, "unsupported-media-type", "This content type is not taken here"


class Invalid(Problem):
    status, slug, title = 422, "invalid", "The input breaks a rule"


class PreconditionRequired(Problem):
    status, slug, title = 428, "if-match-required", "Say which version you want to change"


class Unavailable(Problem):
    status, slug, title = 503, "unavailable", "The service cannot answer just now"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "2"})


PROBLEMS: tuple[type[Problem], ...] = (
    BadRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    PreconditionFailed,
    TooLarge,
    UnsupportedMedia,
    Invalid,
    PreconditionRequired,
    Unavailable,
)


def documented(*kinds: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI ``responses`` for an operation that may answer ``kinds``."""
    return {
        kind.status: {
            "description": kind.title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
        for kind in kinds
    }


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` as problem details."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(StaleDataError, _answer_stale)
    app.add_exception_handler(IntegrityError, _answer_integrity)
    app.add_exception_handler(OperationalError, _answer_operational)
    app.add_exception_handler(Exception, _answer_unexpected)


def problem_response(
    request: Request,
    status: int,
    slug: str,
    title: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    error_count: int = 0,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The HTTP answer for one problem."""
    body = ProblemBody(
        type=f"/problems/{slug}",
        title=title,
        status=status,
        detail=detail,
        instance=getattr(request.state, "request_id", None),
        errors=list(errors),
        error_count=error_count,
    )
    return JSONResponse(
        body.model_dump(mode="json"), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def _answer_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)  # noqa: S101 - registered for this class only
    return problem_response(
        request,
        error.status,
        error.slug,
        error.title,
        error.detail,
        errors=error.errors,
        error_count=error.error_count,
        headers=error.headers,
    )


def _answer_validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    problems = [_field_error(item) for item in error.errors()]
    first = problems[0]
    more = f" ({len(problems) - 1} more below)" if len(problems) > 1 else ""
    return problem_response(
        request,
        Invalid.status,
        Invalid.slug,
        Invalid.title,
        f"{first.pointer}: {first.message}{more}",
        errors=problems[:MAX_ERRORS],
        error_count=len(problems),
    )


def _field_error(item: Mapping[str, Any]) -> FieldError:
    place, *path = item["loc"] or ["body"]
    pointer = pointer_to(path) if place == "body" else "/".join(map(str, [place, *path]))
    return FieldError(code=item["type"], message=item["msg"], pointer=pointer, row=row_of(path))


def pointer_to(path: Sequence[int | str]) -> str:
    """The JSON pointer of a place in the body, fit to stand in an answer whatever its keys are."""
    steps = [str(part)[:_LONGEST_STEP].replace("~", "~0").replace("/", "~1") for part in path]
    return "".join(f"/{step}" for step in steps).encode("utf-8", "replace").decode() or "/"


def row_of(path: Sequence[int | str]) -> int | None:
    """The index in the first list on the way to a place in the body."""
    return next((part for part in path if isinstance(part, int)), None)


def _answer_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    known = next((kind for kind in PROBLEMS if kind.status == error.status_code), None)
    slug = known.slug if known else f"http-{error.status_code}"
    title = known.title if known else str(error.detail)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods_at(request)) or headers.get("Allow", "")
    return problem_response(
        request, error.status_code, slug, title, str(error.detail), headers=headers
    )


def _methods_at(request: Request) -> list[str]:
    """Every method of this path: the router names those of the first route that matches only."""
    found: set[str] = set()
    for template, operations in request.app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{[^/}]+\}", "[^/]+", template), request.url.path):
            found.update(method.upper() for method in operations)
    return sorted(found)


def _answer_stale(request: Request, error: Exception) -> JSONResponse:
    kind = PreconditionFailed
    detail = "Another request changed it at the same moment. Read it again and retry."
    return problem_response(request, kind.status, kind.slug, kind.title, detail)


def _answer_integrity(request: Request, error: Exception) -> JSONResponse:
    log.warning("integrity error reached the edge", error=str(getattr(error, "orig", error)))
    detail = "The change contradicts what is stored, probably by another request. Read and retry."
    return problem_response(request, Conflict.status, Conflict.slug, Conflict.title, detail)


def _answer_operational(request: Request, error: Exception) -> JSONResponse:
    log.error("database did not answer", error=str(error))
    kind = Unavailable
    detail = "The database did not answer. Nothing was changed; retry in a moment."
    return problem_response(
        request, kind.status, kind.slug, kind.title, detail, headers={"Retry-After": "2"}
    )


def _answer_unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", exc_info=error)
    # This one is answered outside of the middleware that names all others.
    name = getattr(request.state, "request_id", None)
    return problem_response(
        request,
        500,
        "internal",
        "Something went wrong on our side",
        "Nothing was changed. Quote the instance id to the operator.",
        headers={"X-Request-ID": name} if name else None,
    )
