"""The client says what the OpenAPI document says, and does what a careful caller would."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from service.client import JobNotSucceeded, Nextround, Refused, Unreachable
from service.client.http import ATTEMPTS, Http
from service.client.operations import OPERATIONS
from service.kit.jobs import run_inline
from tests.lab import PAIR_HEADER, Lab

NOWHERE = "00000000000000000000000000"
TABLE = f"{PAIR_HEADER}\nX,A,0.1,B,1,0.5\n"
# What each method is called with here; identifiers are made up from the name of the parameter.
GIVEN: dict[str, Any] = {
    "compounds": [{"name": "A"}], "cell_lines": [{"name": "X"}], "name": "A", "version": 3,
    "campaign": {"name": "C", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]},
    "measurements": [{"cell_line": "X", "doses": [], "value": 1.0}], "quantity": "viability",
    "unit": "fraction", "note": "n", "dry_run": True, "file": TABLE.encode(), "field_map": "m",
    "dose_unit": "uM", "decimal": ".", "cell_line": "X", "confirm_scale": True,
    "repeats": "replicates", "content_type": None, "idempotency_key": "k", "versions": "all",
    "correction": {"value": 0.5, "reason": "because"}, "ready": "openbis", "definition": None,
    "items": [{"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1.0}]}], "body": {},
    "ranks": [1, 2], "choice": {"ranks": [1]}, "format": "csv", "wait_s": 5,
    "type": "job.failed", "url": "https://x.org/", "types": ["job.failed"],
    "keep_old_hours": 1, "what": {"since": "2030-01-01T00:00:00Z"},
    "labware": {"dispensers": [{"name": "E", "drop_nl": 2.5, "max_transfer_nl": 100}],
                "source_types": [], "destinations": [
                    {"name": "D", "wells": 384, "assay_nl": 50_000, "max_total_nl": 500}]},
    "stocks": [{"compound": "A", "mm": 10, "volume_nl": 60_000}],
    "dispensing": {"destination": "D", "dispenser": "E"}, "layout": {"seed": 1},
    "reason": "because", "filename": "run.csv", "table": b"barcode,well\n",
    "batch": "bat_1", "barcode": "P1", "label": "LUM", "rule": "plate-effect/1",
    "accept_flags": True, "commit": "auto", "state": "parsed", "asked": {"barcode": "P1"},
    "holds": "responses", "kind": "log_ratio", "treatment_column": "guide",
    "batch_column": "lane", "joined_by": "+", "seed": 7,
    "experiment": "A375 / A + B", "experiments": ["A375 / A + B"], "despite_doubt": True,
    "limit": 20, "compound": "A", "partner": "B", "block_shape": "diagonal", "count": 3,
    "draws": 20,
    "wells": ["B3"], "limits": {"edge": {"warn": 0.1, "fail": None}},
}  # fmt: skip
# What they are called with where the same name means something else.
OTHERWISE: dict[str, dict[str, Any]] = {
    "list_plates": {"campaign": "cam_1"},
    "list_uploads": {"campaign": "cam_1"},
    "get_pick_list": {"format": "worklist"},
    "sample_surface": {"compounds": ["A", "B"]},
    "upload_file": {"format": "envision"},
}
CHANGES = {
    "change_campaign": {"name": "C"},
    "change_batch": {"status": "running"},
    "change_webhook": {"active": True},
}
PREFIXES = {
    "compound_id": "cmp", "cell_line_id": "cel", "campaign_id": "cam", "submission_id": "smn",
    "measurement_id": "mea", "model_id": "mdl", "prediction_id": "prd", "job_id": "job",
    "recommendation_id": "rec", "batch_id": "bat", "webhook_id": "whk",
    "plate_id": "plt", "upload_id": "upl", "flag_id": "flg", "dataset_id": "dst", "fit_id": "dsf",
    "card_id": "trg", "surface_fit_id": "sfc",
}  # fmt: skip
OUR_OWN = {"wait", "result"}


class Recorder(httpx2.BaseTransport):
    """Answers everything with the same, and remembers what was asked."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.requests: list[httpx2.Request] = []
        self.answers = list(answers)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        request.read()
        if not self.answers:
            return httpx2.Response(200, json={"items": [], "next_cursor": None})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def http(transport: httpx2.BaseTransport) -> Http:
    return Http("http://x", "nr_k", transport=transport, pause_s=0.0)


@pytest.fixture
def document(lab: Lab) -> dict[str, Any]:
    """What the application says of itself now, committed or not."""
    found: dict[str, Any] = lab.http.get("/openapi.json").json()
    return found


def methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, function in inspect.getmembers(Nextround, inspect.isfunction):
        if not name.startswith("_") and name not in OUR_OWN:
            yield name, function


def test_every_operation_is_in_the_document(document: dict[str, Any]) -> None:
    offered = {
        operation["operationId"]: (method.upper(), path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert {name: offered.get(name) for name in OPERATIONS} == OPERATIONS


def test_every_request_is_one_that_the_document_allows(document: dict[str, Any]) -> None:
    """Each method, called with everything it takes: path, query and body."""
    called = set()
    for name, function in methods():
        parameters = list(inspect.signature(function).parameters)[1:]
        given = {
            one: CHANGES[name] if one == "change"
            else f"{PREFIXES[one]}_{NOWHERE}" if one in PREFIXES else GIVEN[one]
            for one in parameters
        } | OTHERWISE.get(name, {})  # fmt: skip
        recorder = Recorder()
        with Nextround("http://x", "nr_k", transport=recorder) as client:
            answer = getattr(client, name)(**given)
            if inspect.isgenerator(answer):
                list(answer)
        (request,) = recorder.requests
        operation = _operation(document, request)
        called.add(operation["operationId"])
        known = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
        assert set(request.url.params) <= known, name
        _check_query(document, operation, dict(request.url.params))
        if request.method == "POST":
            assert request.headers["idempotency-key"]
        if request.method in ("PATCH", "PUT"):
            assert request.headers["if-match"] == '"3"'
        _check_body(document, operation, request)
    assert called == set(OPERATIONS)


def test_every_method_is_named_after_its_operation() -> None:
    extra = {"submit_file", "recommendation_file", "batch_file"}
    assert {name for name, _ in methods()} == set(OPERATIONS) | extra


def _operation(document: dict[str, Any], request: httpx2.Request) -> dict[str, Any]:
    for path, operations in document["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        if re.fullmatch(pattern, request.url.path) and request.method.lower() in operations:
            found: dict[str, Any] = operations[request.method.lower()]
            return found
    raise AssertionError(f"{request.method} {request.url.path} is no operation")


def _check_query(
    document: dict[str, Any], operation: dict[str, Any], query: dict[str, str]
) -> None:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "query" and parameter["name"] in query:
            text = query[parameter["name"]]
            value = json.loads(text) if re.fullmatch(r"\d+|true|false", text) else text
            schema = {**parameter["schema"], "components": document["components"]}
            assert jsonschema_rs.is_valid(schema, value), (operation["operationId"], parameter)


def _check_body(
    document: dict[str, Any], operation: dict[str, Any], request: httpx2.Request
) -> None:
    content = request.read()
    if not content:
        assert not operation.get("requestBody", {}).get("required"), operation["operationId"]
        return
    kinds = operation["requestBody"]["content"]
    kind = request.headers["content-type"]
    assert kind in kinds, (operation["operationId"], kind)
    if kind == "application/json":
        schema = {**kinds[kind]["schema"], "components": document["components"]}
        value = json.loads(content)
        assert jsonschema_rs.is_valid(schema, value), (operation["operationId"], value)


class TestCalling:
    def test_pages_are_followed(self, lab: Lab, client: Nextround, wire: Any) -> None:
        lab.compounds(*(f"C{number}" for number in range(7)))
        names = [row["name"] for row in client._http.every("list_compounds", query={"limit": 3})]
        assert names == [f"C{number}" for number in range(7)]
        assert len(wire.answers) == 3

    def test_problems_are_told_row_by_row(self, lab: Lab, client: Nextround) -> None:
        campaign = lab.campaign()
        with pytest.raises(Refused, match="Row 2") as caught:
            client.submit_file(campaign["id"], TABLE.replace("A", "Nobody").encode())
        assert (caught.value.status, caught.value.errors[0]["code"]) == (422, "unknown_compound")

    def test_what_has_not_changed_is_not_sent_again(
        self, lab: Lab, client: Nextround, wire: Any
    ) -> None:
        campaign = lab.campaign()
        first = client.get_campaign(campaign["id"])
        assert client.get_campaign(campaign["id"]) == first
        assert [status for *_, status in wire.answers] == [200, 304]
        client.change_campaign(campaign["id"], {"name": "Renamed"}, first["version"])
        assert client.get_campaign(campaign["id"])["name"] == "Renamed"
        assert wire.answers[-1][2] == 200

    def test_a_change_needs_the_present_version(self, lab: Lab, client: Nextround) -> None:
        campaign = lab.campaign()
        with pytest.raises(Refused) as caught:
            client.change_campaign(campaign["id"], {"name": "Renamed"}, 7)
        assert caught.value.status == 412

    def test_a_post_is_sent_again_under_its_key(self) -> None:
        broken = httpx2.ConnectError("connection reset")
        recorder = Recorder(broken, httpx2.Response(503), httpx2.Response(201, json={"id": "a"}))
        assert http(recorder).call("register_compounds", body={}) == {"id": "a"}
        assert len({request.headers["idempotency-key"] for request in recorder.requests}) == 1
        assert len(recorder.requests) == 3

    def test_a_change_is_not_sent_again(self) -> None:
        recorder = Recorder(httpx2.ReadError("connection reset"))
        with pytest.raises(Unreachable):
            http(recorder).call("change_batch", {"batch_id": "b"}, body={}, version=1)
        assert len(recorder.requests) == 1

    def test_it_gives_up(self) -> None:
        recorder = Recorder(httpx2.ConnectError("refused"))
        with pytest.raises(Unreachable, match="ConnectError"):
            http(recorder).call("get_workspace")
        assert len(recorder.requests) == ATTEMPTS

    @pytest.mark.parametrize("bad", ["", "..", "a/b", "a?b", "a%2Fb", "a b"])
    def test_identifiers_lead_nowhere_else(self, bad: str) -> None:
        with pytest.raises(ValueError, match="not an identifier"):
            http(Recorder()).call("get_job", {"job_id": bad})

    def test_an_answer_that_is_no_problem(self) -> None:
        recorder = Recorder(httpx2.Response(404, text="<html>"))
        with pytest.raises(Refused, match="html"):
            http(recorder).call("get_workspace")

    def test_what_is_remembered_is_bounded(self) -> None:
        recorder = Recorder(httpx2.Response(200, json={}, headers={"ETag": '"1"'}))
        caller = http(recorder)
        for number in range(300):
            caller.call("get_job", {"job_id": f"job_{number}"})
        assert len(caller._known) == 256


class TestWaiting:
    def ask(self, lab: Lab) -> dict[str, Any]:
        campaign = lab.campaign()
        job: dict[str, Any] = lab.ok(
            lab.post(f"/v1/campaigns/{campaign['id']}/recommendations", {})
        )
        return job

    def test_a_job_that_succeeds(self, lab: Lab, client: Nextround) -> None:
        job = self.ask(lab)
        run_inline(lab.parts.database, lab.parts.artifacts, lab.parts.settings, job["id"])
        seen: list[str] = []
        done = client.wait(job, on_progress=lambda now: seen.append(now["status"]))
        assert seen == ["succeeded"]
        assert client.result(done, "recommendation")["campaign_id"] == job["campaign_id"]

    def test_a_job_that_does_not(self, lab: Lab, client: Nextround) -> None:
        job = self.ask(lab)
        with pytest.raises(JobNotSucceeded, match="queued"):
            client.wait(job, timeout_s=0.0)
        client.cancel_job(job["id"])
        with pytest.raises(JobNotSucceeded, match="cancelled"):
            client.wait(job)
