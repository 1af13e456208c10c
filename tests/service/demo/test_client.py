"""The client: problems in words, safe repeats, pages, and event streams that break."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx2
import pytest

from service.demo import client
from service.demo.client import Api, JobEvent, ServiceError, job_failure
from service.demo.labs import DemoError

Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_PAUSE_S", 0.0)


def api(handler: Handler) -> Api:
    return Api("http://service", "nr_key", transport=httpx2.MockTransport(handler))


def stream(*events: tuple[int, str, object], cut: bool = False) -> httpx2.Response:
    """A stream of events; ``cut``: the connection breaks at its end."""

    def chunks() -> Iterator[bytes]:
        for number, kind, data in events:
            yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
        if cut:
            raise httpx2.ReadError("broken")

    return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, content=chunks())


def test_every_request_carries_the_key_and_every_post_can_be_repeated() -> None:
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        if len(seen) == 1:
            raise httpx2.ConnectError("not yet")
        return httpx2.Response(503 if len(seen) == 2 else 201, json={"id": "x"})

    with api(handler) as http:
        assert http.post("/v1/things", {"a": 1}).json() == {"id": "x"}
    assert [request.headers["Authorization"] for request in seen] == ["Bearer nr_key"] * 3
    assert len({request.headers["Idempotency-Key"] for request in seen}) == 1
    with api(lambda request: httpx2.Response(201, json=dict(request.headers))) as http:
        first, second = (http.post("/v1/things", {}).json() for _ in range(2))
    assert first["idempotency-key"] != second["idempotency-key"]


def test_a_csv_goes_with_what_its_header_leaves_open() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        assert request.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert request.url.params["unit"] == "fraction"
        return httpx2.Response(201, json={"body": request.content.decode()})

    with api(handler) as http:
        answer = http.post_csv("/v1/campaigns/c/submissions", "a,µ\n", unit="fraction")
    assert answer.json()["body"] == "a,µ\n"


def test_a_problem_is_told_as_the_service_tells_it() -> None:
    problem = {
        "title": "The input breaks a rule",
        "detail": "Row 3: no such compound.",
        "instance": "req_1",
        "errors": [{"message": f"Row {k}: no such compound."} for k in range(3, 10)],
        "error_count": 70,
    }
    with (
        api(lambda request: httpx2.Response(422, json=problem)) as http,
        pytest.raises(ServiceError) as caught,
    ):
        http.post("/v1/compounds", {})
    assert caught.value.status == 422
    assert str(caught.value).splitlines() == [
        "The input breaks a rule (POST /v1/compounds, status 422): Row 3: no such compound.",
        *(f"  Row {k}: no such compound." for k in range(4, 8)),
        "  and 65 more",
        "  (req_1)",
    ]


def test_an_answer_that_is_no_problem_document_is_shown_as_it_is() -> None:
    with (
        api(lambda request: httpx2.Response(500, text="<h1>proxy</h1>")) as http,
        pytest.raises(ServiceError, match=r"GET /x answered 500: <h1>proxy</h1>"),
    ):
        http.get("/x")


def test_a_service_that_is_gone_is_said_to_be_gone() -> None:
    attempts = 0

    def handler(request: httpx2.Request) -> httpx2.Response:
        nonlocal attempts
        attempts += 1
        raise httpx2.ConnectError("refused")

    with (
        api(handler) as http,
        pytest.raises(DemoError, match=r"cannot be reached \(ConnectError: refused\)"),
    ):
        http.get("/x")
    assert attempts == 4


def test_a_patch_is_never_repeated_blindly() -> None:
    attempts = 0

    def handler(request: httpx2.Request) -> httpx2.Response:
        nonlocal attempts
        attempts += 1
        assert request.headers["If-Match"] == '"2"'
        raise httpx2.ReadError("broken")

    with api(handler) as http, pytest.raises(DemoError, match="cannot be reached"):
        http.patch("/v1/batches/b", '"2"', {"status": "done"})
    assert attempts == 1


def test_lists_are_read_to_the_end() -> None:
    pages = {None: (["a", "b"], "next"), "next": (["c"], None)}

    def handler(request: httpx2.Request) -> httpx2.Response:
        items, cursor = pages[request.url.params.get("cursor")]
        return httpx2.Response(200, json={"items": items, "next_cursor": cursor})

    with api(handler) as http:
        assert list(http.items("/v1/cell-lines")) == ["a", "b", "c"]


def test_a_broken_stream_is_resumed_after_the_last_event() -> None:
    asked: list[str | None] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) == 1:
            return stream((1, "status", {"status": "running"}), cut=True)
        if len(asked) == 2:
            raise httpx2.ConnectError("not yet")
        return stream((2, "progress", {"stage": "fit"}), (3, "status", {"status": "succeeded"}))

    with api(handler) as http:
        events = list(http.follow("job_1"))
    assert asked == [None, "1", "1"]
    assert events == [
        JobEvent("status", {"status": "running"}),
        JobEvent("progress", {"stage": "fit"}),
        JobEvent("status", {"status": "succeeded"}),
    ]


def test_a_stream_that_cannot_be_had_gives_up() -> None:
    def handler(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with api(handler) as http, pytest.raises(DemoError, match="cannot be reached"):
        list(http.follow("job_1"))


def test_a_stream_that_is_refused_tells_why() -> None:
    problem = {"title": "Not found", "detail": "There is no job 'job_1'."}
    with (
        api(lambda request: httpx2.Response(404, json=problem)) as http,
        pytest.raises(ServiceError, match="There is no job 'job_1'"),
    ):
        list(http.follow("job_1"))


def test_a_failed_job_tells_why() -> None:
    job = {"id": "job_1", "kind": "recommend", "status": "failed"}
    failure = job_failure({**job, "problem": {"detail": "No wells."}})
    assert str(failure) == "Job job_1 (recommend) failed: No wells."
    assert "without a reason" in str(job_failure({**job, "problem": None}))
