"""Requests as the API wants them: keyed, repeatable, conditional, paged; problems as exceptions."""

from __future__ import annotations

import json
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from service.client.errors import Refused, Unreachable
from service.client.operations import OPERATIONS

ATTEMPTS = 4
_RETRIED = frozenset({429, 502, 503, 504})
_REMEMBERED = 256
_PAGE = 500


@dataclass(frozen=True)
class Upload:
    """A body that is a file."""

    content: bytes
    content_type: str


class Http:
    """One key's view of one service.

    A POST carries an ``Idempotency-Key``, so that it can be sent again when the connection breaks:
    the effect happens once. A GET is sent with the ETag of what it brought last time; while that
    holds, the answer is a few bytes.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = 120.0,
        pause_s: float = 0.5,
        transport: httpx2.BaseTransport | None = None,
        trust_env: bool = False,
    ) -> None:
        self._pause_s = pause_s
        self._known: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._http = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=timeout_s,
            transport=transport,
            trust_env=trust_env,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(
        self,
        operation: str,
        path: Mapping[str, object] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        body: Any = None,
        upload: Upload | None = None,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """The JSON that an operation answers; None where it answers nothing."""
        method, template = OPERATIONS[operation]
        url = template.format(**{name: _step(value) for name, value in (path or {}).items()})
        headers: dict[str, str] = {}
        if method == "POST":
            headers["Idempotency-Key"] = idempotency_key or str(uuid.uuid4())
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        content = self._send(method, url, headers, _given(query), body, upload)
        return json.loads(content) if content else None

    def content(
        self,
        operation: str,
        path: Mapping[str, object],
        query: Mapping[str, object] | None = None,
    ) -> bytes:
        """What an operation answers, as it is: a file."""
        method, template = OPERATIONS[operation]
        url = template.format(**{name: _step(value) for name, value in path.items()})
        return self._send(method, url, {}, _given(query), None, None)

    def every(
        self,
        operation: str,
        path: Mapping[str, object] | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Everything in a list, page by page."""
        asked: dict[str, object] = {"limit": _PAGE, **(query or {})}
        while True:
            page = self.call(operation, path, query=asked)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            asked["cursor"] = page["next_cursor"]

    def link(self, path: str) -> Any:
        """The JSON behind a path that the service itself gave."""
        return json.loads(self._send("GET", path, {}, {}, None, None))

    def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        query: dict[str, str],
        body: Any,
        upload: Upload | None,
    ) -> bytes:
        address = str(httpx2.URL(url, params=query))
        more: dict[str, Any] = {} if body is None else {"json": body}
        if upload is not None:
            more = {"content": upload.content}
            headers["Content-Type"] = upload.content_type
        known = self._known.get(address) if method == "GET" else None
        if known is not None:
            headers["If-None-Match"] = known[0]
        response = self._patiently(method, address, headers, more)
        if response.status_code == 304 and known is not None:
            self._known.move_to_end(address)
            return known[1]
        if not response.is_success:
            raise Refused(response.status_code, _problem(response))
        if method == "GET" and "etag" in response.headers:
            self._remember(address, response.headers["etag"], response.content)
        return response.content

    def _patiently(
        self, method: str, address: str, headers: dict[str, str], more: dict[str, Any]
    ) -> httpx2.Response:
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                response = self._http.request(method, address, headers=headers, **more)
            except httpx2.TransportError as error:
                if last or method in ("PATCH", "PUT"):  # what came of it is not known
                    what = f"{type(error).__name__}: {error}"
                    raise Unreachable(f"The service cannot be reached ({what}).") from None
            else:
                if response.status_code not in _RETRIED or last:
                    return response
            time.sleep(self._pause_s * attempt)
        raise AssertionError("the last attempt returns or raises")

    def _remember(self, address: str, tag: str, content: bytes) -> None:
        self._known[address] = (tag, content)
        self._known.move_to_end(address)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _step(value: object) -> str:
    """One step of a path; nothing that would lead elsewhere."""
    text = str(value)
    if not text or not all(character.isalnum() or character in "_-" for character in text):
        raise ValueError(f"{text!r} is not an identifier")
    return text


def _given(query: Mapping[str, object] | None) -> dict[str, str]:
    """What was said, as the query writes it."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in (query or {}).items()
        if value is not None
    }


def _problem(response: httpx2.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return problem
    return {"title": "An answer that is no problem document", "detail": response.text[:500]}
