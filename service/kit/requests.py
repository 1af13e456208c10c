"""A name for every request, in the log, in the audit trail and in every problem."""

from __future__ import annotations

import re
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.kit.ids import new_id

log = structlog.get_logger(__name__)
_ACCEPTABLE = re.compile(rb"[0-9A-Za-z_.-]{8,64}")


class RequestNames:
    """ASGI middleware: takes the caller's ``X-Request-ID`` or makes one, and logs the request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _name(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.perf_counter(), 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self.app(scope, receive, send_named)
        finally:
            log.info(
                "request",
                id=request_id,
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(1000 * (time.perf_counter() - started), 1),
            )


def _name(scope: Scope) -> str:
    for key, value in scope["headers"]:
        if key == b"x-request-id" and _ACCEPTABLE.fullmatch(value):
            return str(value.decode())
    return new_id("req")
