"""One request, one transaction: authenticate, replay or run, then commit before answering."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from service.kit import etag
from service.kit.audit.recorder import AuditContext, attach
from service.kit.auth.principal import Principal
from service.kit.auth.verify import authenticate, bearer
from service.kit.body import ReceivedBody, parse_json, receive, require_json
from service.kit.idempotency import store
from service.kit.names import duplicates
from service.kit.parts import Parts
from service.kit.problems import Conflict, FieldError, Forbidden, Invalid
from service.settings import Settings

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass
class Unit:
    """What a service needs: a session, on whose behalf it works, and the parts."""

    session: Session
    principal: Principal
    parts: Parts
    request_id: str | None = None
    replay_body: str | None = None
    """What a replay answers instead of the first answer, where that held a secret."""


class UnitRoute(APIRoute):
    """A route whose handler runs inside a :class:`Unit`; nothing else commits."""

    def get_route_handler(self) -> Handler:
        inner = super().get_route_handler()
        operation = self

        async def handle(request: Request) -> Response:
            return await _run(operation, inner, request)

        return handle


async def _run(route: APIRoute, inner: Handler, request: Request) -> Response:
    parts: Parts = request.app.state.parts
    principal = await run_in_threadpool(authenticate, parts.database, request)
    _check_scopes(route, principal)
    _check_query(route, request)
    body = await _receive(route, request, parts.settings)
    session = parts.database.session(write=request.method not in _READS)
    unit = Unit(session, principal, parts, request.state.request_id)
    request.state.unit, request.state.received = unit, body
    attach(session, AuditContext(principal, request.state.request_id))
    try:
        if body is not None:
            await _hand_over(route, request, body, parts.settings)
        return await _answer(inner, request, unit, body)
    finally:
        # Also rolls back whatever was not committed.
        await run_in_threadpool(session.close)
        if body is not None:
            body.file.close()


async def _answer(
    inner: Handler, request: Request, unit: Unit, body: ReceivedBody | None
) -> Response:
    session = unit.session
    key = request.headers.get("idempotency-key") if request.method == "POST" else None
    if key is not None and body is not None:
        store.valid_key(key)
        replay = await run_in_threadpool(
            store.begin, session, unit.principal, key, _fingerprint(request, body)
        )
        if replay is not None:
            return _replayed(replay)
    response = await inner(request)
    if request.method == "GET":
        return etag.conditional(request.headers.get("if-none-match"), response)
    if response.status_code < 400 and request.method not in _READS:
        await run_in_threadpool(_commit, unit, key, response)
    return response


def _commit(unit: Unit, key: str | None, response: Response) -> None:
    if key is not None:
        _remember(unit, key, response)
    unit.session.commit()


def _replayed(answer: store.StoredAnswer) -> Response:
    if answer.status == 0:
        raise Conflict("The first request with this Idempotency-Key is not finished. Retry soon.")
    headers = {**answer.headers, "Idempotency-Replayed": "true"}
    return Response(answer.body.encode(), answer.status, headers)


def _remember(unit: Unit, key: str, response: Response) -> None:
    headers = {
        name: value for name, value in response.headers.items() if name in store.KEPT_HEADERS
    }
    text = unit.replay_body
    if text is None:
        text = bytes(response.body).decode()
    store.complete(unit.session, unit.principal, key, response.status_code, headers, text)


def _fingerprint(request: Request, body: ReceivedBody) -> str:
    return store.fingerprint(
        request.method,
        request.url.path,
        request.url.query,
        request.headers.get("content-type", ""),
        body.sha256,
    )


async def _receive(route: APIRoute, request: Request, settings: Settings) -> ReceivedBody | None:
    if request.method in _READS:
        return None
    return await receive(request, _limit(route, settings))


def _limit(route: APIRoute, settings: Settings) -> int:
    said = route.openapi_extra or {}
    if said.get("x-archive"):
        return settings.max_archive_bytes
    if said.get("x-dataset"):
        return settings.max_dataset_bytes
    return settings.max_upload_bytes if _is_upload(route) else settings.max_body_bytes


def _is_upload(route: APIRoute) -> bool:
    return bool((route.openapi_extra or {}).get("x-upload"))


async def _hand_over(
    route: APIRoute, request: Request, body: ReceivedBody, settings: Settings
) -> None:
    """Put the body where FastAPI looks for it: into the request's own cache."""
    if _is_upload(route) and body.length > settings.max_body_bytes:
        request._body = b""
        return
    request._body = await run_in_threadpool(body.file.read)
    body.file.seek(0)
    if route.body_field is not None and request._body:
        require_json(request.headers.get("content-type", ""))
        request._json = await run_in_threadpool(parse_json, request._body)


def needs(scope: str) -> Any:
    """A dependency that documents and enforces the scope of an operation."""

    async def granted() -> None:  # async: a plain function would cost a thread
        return None

    granted.scope = scope  # type: ignore[attr-defined]
    return Depends(granted)


def _query_names(dependant: Dependant) -> set[str]:
    return {field.alias for field in dependant.query_params}.union(
        *(_query_names(inner) for inner in dependant.dependencies)
    )


def _check_query(route: APIRoute, request: Request) -> None:
    """Refuse what nobody reads: a misspelt ``dry_run`` must not store anything."""
    known = _query_names(route.dependant)
    names = [name for name, _ in request.query_params.multi_items()]
    hint = f"There is no such query parameter here. Known: {', '.join(sorted(known)) or 'none'}."
    errors = [_query_error("unknown_parameter", name, hint) for name in names if name not in known]
    # None of ours is a list, so one of two values would silently win.
    errors += [
        _query_error("repeated_parameter", name, "Give this parameter once.")
        for name in duplicates(names)
        if name in known
    ]
    if errors:
        raise Invalid(f"{errors[0].pointer}: {errors[0].message}", errors=errors)


def _query_error(code: str, name: str, message: str) -> FieldError:
    return FieldError(code=code, message=message, pointer=f"query/{name[:60]}")


def _check_scopes(route: APIRoute, principal: Principal) -> None:
    for dependency in route.dependencies:
        scope = getattr(dependency.dependency, "scope", None)
        if scope is not None and not principal.may(scope):
            raise Forbidden(
                f"This key lacks the scope {scope!r}. Ask an administrator of the workspace for a "
                f"key that has it."
            )


async def _unit(request: Request, _credentials: Annotated[Any, Depends(bearer)]) -> Unit:
    unit: Unit = request.state.unit
    return unit


async def _received(request: Request) -> ReceivedBody:
    body: ReceivedBody = request.state.received
    return body


UnitDep = Annotated[Unit, Depends(_unit)]
ReceivedDep = Annotated[ReceivedBody, Depends(_received)]
