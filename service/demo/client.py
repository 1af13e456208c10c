"""The API as a client sees it: JSON and CSV in, problem details out, jobs followed as events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx2

from service.demo.labs import DemoError

_TIMEOUT_S = 120.0
_ATTEMPTS = 4
_PAUSE_S = 0.5
_RETRIED_STATUS = {429, 502, 503, 504}
_SHOWN_ERRORS = 5
FINISHED = ("succeeded", "failed", "cancelled")


class ServiceError(DemoError):
    """The service refused; the text is what it said, row by row."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        super().__init__(_in_words(response))


@dataclass(frozen=True)
class JobEvent:
    """One server-sent event of a job: ``kind`` is ``status`` or ``progress``."""

    kind: str
    data: dict[str, Any]


class Api:
    """One key's view of one service. Every POST carries an ``Idempotency-Key``, so it is safe to
    repeat when the connection breaks: the effect happens once.
    """

    def __init__(self, url: str, key: str, transport: httpx2.BaseTransport | None = None) -> None:
        self._http = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=_TIMEOUT_S,
            transport=transport,
            trust_env=False,  # a proxy for the outside world has no business here
        )

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at ``path``."""
        return self._send("GET", path, params=query).json()

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        """Everything in a list, page by page."""
        query: dict[str, Any] = {"limit": 500}
        while True:
            page = self.get(path, **query)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def post(self, path: str, body: Mapping[str, Any]) -> httpx2.Response:
        """POST a JSON body."""
        return self._send("POST", path, json=dict(body), headers=_idempotent())

    def post_csv(self, path: str, csv: str, **query: str) -> httpx2.Response:
        """POST a table."""
        headers = {"Content-Type": "text/csv; charset=utf-8", **_idempotent()}
        return self._send("POST", path, content=csv.encode(), params=query, headers=headers)

    def patch(self, path: str, etag: str, body: Mapping[str, Any]) -> httpx2.Response:
        """PATCH the version that ``etag`` names."""
        return self._send("PATCH", path, json=dict(body), headers={"If-Match": etag})

    def follow(self, job_id: str) -> Iterator[JobEvent]:
        """The events of a job until it is finished; a broken stream is resumed where it broke."""
        last, failures = "", 0
        while True:
            try:
                for event in self._stream(f"/v1/jobs/{job_id}/events", last):
                    last, failures = event.id, 0
                    data: dict[str, Any] = json.loads(event.data)
                    yield JobEvent(event.event, data)
                    if data.get("status") in FINISHED:
                        return
            except httpx2.TransportError as error:
                failures += 1
                if failures >= _ATTEMPTS:
                    raise _unreachable(error) from None
                time.sleep(_PAUSE_S)

    def _stream(self, path: str, last: str) -> Iterator[httpx2.ServerSentEvent]:
        headers = {"Last-Event-ID": last} if last else {}
        with self._http.sse(path, headers=headers) as events:
            if events.response.status_code != 200:
                events.response.read()
                raise ServiceError(events.response)
            yield from events

    def _send(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """One request, repeated while the service cannot be reached or says that it is busy."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self._http.request(method, path, **more)
            except httpx2.TransportError as error:
                if attempt == _ATTEMPTS or method == "PATCH":
                    raise _unreachable(error) from None
            else:
                if response.is_success:
                    return response
                if response.status_code not in _RETRIED_STATUS or attempt == _ATTEMPTS:
                    raise ServiceError(response)
            time.sleep(_PAUSE_S * attempt)
        raise AssertionError("the last attempt returns or raises")


def job_failure(job: Mapping[str, Any]) -> DemoError:
    """Why a job did not succeed, in the service's words."""
    problem = job["problem"] or {}
    detail = problem.get("detail") or problem.get("title") or "without a reason"
    return DemoError(f"Job {job['id']} ({job['kind']}) {job['status']}: {detail}")


def _idempotent() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def _unreachable(error: httpx2.TransportError) -> DemoError:
    return DemoError(f"The service cannot be reached ({type(error).__name__}: {error}).")


def _in_words(response: httpx2.Response) -> str:
    """Title, detail and the first row errors of a problem (RFC 9457)."""
    where = f"{response.request.method} {response.request.url.path}"
    try:
        problem = response.json()
        text = f"{problem['title']} ({where}, status {response.status_code}): {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{where} answered {response.status_code}: {response.text[:500]}"
    errors = problem.get("errors") or []
    shown = [f"  {error['message']}" for error in errors[:_SHOWN_ERRORS]]
    shown = [line for line in shown if line.strip() not in text]
    more = problem.get("error_count", len(errors)) - _SHOWN_ERRORS
    tail = [f"  and {more:,} more"] if more > 0 else []
    reference = [f"  ({problem['instance']})"] if problem.get("instance") else []
    return "\n".join([text, *shown, *tail, *reference])
