"""Every operation: nobody without a key, no key without the scope, no key of another workspace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from service.kit.auth.scopes import DESCRIPTIONS
from service.kit.database import dump_json
from tests.contract.learned_seeds import surface_fit, triage_card
from tests.contract.seeds import dataset_fit, replayed_campaign
from tests.lab import PAIR_HEADER
from tests.service.batches.plates_bench import (
    SIZE,
    give_stocks,
    lay_out,
    model_echo,
    report,
    text,
)
from tests.service.datasets.test_viability import NAME, experiment, time_courses
from tests.service.learning.bench import short_training, start_campaign

REASON = {"reason": "because"}
LABWARE = {
    "dispensers": [{"name": "Pin tool", "drop_nl": 100.0, "max_transfer_nl": 100.0}],
    "source_types": [],
    "destinations": [
        {"name": "96", "wells": 96, "assay_nl": 1e5, "max_total_nl": 1e3, "vehicle_limit": 0.01}
    ],
}
NOWHERE = "00000000000000000000000000"


@dataclass(frozen=True)
class Operation:
    """One operation: what it takes, and what it is sent here."""

    name: str
    scope: str
    body: Any = None
    query: str = ""

    @property
    def method(self) -> str:
        return self.name.split()[0]

    def path(self, ids: dict[str, str]) -> str:
        known = {"rank": "1", **ids}
        path = re.sub(r"\{(\w+)\}", lambda match: known[match[1]], self.name.split()[1])
        return f"{path}?{self.query}" if self.query else path

    def send(self, http: Any, ids: dict[str, str], headers: dict[str, str] | None = None) -> Any:
        given = {"If-Match": "*", **(headers or {})}
        if isinstance(self.body, str):
            given["Content-Type"] = "text/csv"
            return http.request(self.method, self.path(ids), content=self.body, headers=given)
        return http.request(self.method, self.path(ids), json=self.body, headers=given)


OPERATIONS = [
    Operation("POST /v1/compounds", "compounds:write", {"compounds": [{"name": "New"}]}),
    Operation("GET /v1/compounds", "read"),
    Operation("GET /v1/compounds/{compound_id}", "read"),
    Operation("PATCH /v1/compounds/{compound_id}", "compounds:write", {"name": "New"}),
    Operation("POST /v1/cell-lines", "cell-lines:write", {"cell_lines": [{"name": "New"}]}),
    Operation("GET /v1/cell-lines", "read"),
    Operation("GET /v1/cell-lines/{cell_line_id}", "read"),
    Operation("PATCH /v1/cell-lines/{cell_line_id}", "cell-lines:write", {"tissue": "new"}),
    Operation("GET /v1/cell-lines/{cell_line_id}/features", "read"),
    Operation("POST /v1/campaigns", "campaigns:write", {
        "name": "New", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]}),
    Operation("GET /v1/campaigns", "read"),
    Operation("GET /v1/campaigns/{campaign_id}", "read"),
    Operation("PATCH /v1/campaigns/{campaign_id}", "campaigns:write", {"name": "New"}),
    Operation("POST /v1/campaigns/{campaign_id}/marks", "campaigns:write", {
        "marks": [{"mark": "ban", "compounds": ["A", "B"]}]}),
    Operation("GET /v1/campaigns/{campaign_id}/marks", "read"),
    Operation("DELETE /v1/campaigns/{campaign_id}/marks/{mark_id}", "campaigns:write"),
    Operation("POST /v1/campaigns/{campaign_id}/submissions", "measurements:write",
              f"{PAIR_HEADER}\nX,A,7,,,0.5\n"),
    Operation("GET /v1/campaigns/{campaign_id}/submissions", "read"),
    Operation("GET /v1/submissions/{submission_id}", "read"),
    Operation("GET /v1/submissions/{submission_id}/original", "read"),
    Operation("GET /v1/campaigns/{campaign_id}/measurements", "read"),
    Operation("GET /v1/campaigns/{campaign_id}/measurements.csv", "read"),
    Operation("GET /v1/measurements/{measurement_id}", "read"),
    Operation("POST /v1/measurements/{measurement_id}/corrections", "measurements:write",
              {"value": 0.5, **REASON}),
    Operation("POST /v1/campaigns/{campaign_id}/files", "measurements:write",
              f"{PAIR_HEADER}\nX,A,9,,,0.5\n"),
    Operation("GET /v1/uploads", "read"),
    Operation("GET /v1/uploads/{upload_id}", "read"),
    Operation("GET /v1/uploads/{upload_id}/original", "read"),
    Operation("POST /v1/uploads/{upload_id}/commit", "measurements:write", {}),
    Operation("POST /v1/plates/{plate_id}/flags", "measurements:write",
              {"wells": ["C3"], **REASON}),
    Operation("POST /v1/flags/{flag_id}/lift", "measurements:write", REASON),
    Operation("POST /v1/plates/{plate_id}/normalise", "measurements:write",
              {"rule": "plate-effect/1"}),
    Operation("GET /v1/plates/{plate_id}/quality", "read"),
    Operation("GET /v1/plates/{plate_id}/readings.csv", "read"),
    Operation("GET /v1/quality-limits", "read"),
    Operation("PUT /v1/quality-limits", "measurements:write", {}),
    Operation("POST /v1/field-maps", "measurements:write", {"name": "New", "ready": "openbis"}),
    Operation("GET /v1/field-maps", "read"),
    Operation("GET /v1/field-maps/{field_map_id}", "read"),
    Operation("GET /v1/ready-field-maps", "read"),
    Operation("POST /v1/datasets", "measurements:write", "treatment,ERK\nMEKi 1 uM,-1\n",
              "holds=responses&kind=log_ratio"),
    Operation("GET /v1/datasets", "read"),
    Operation("GET /v1/datasets/{dataset_id}", "read"),
    Operation("GET /v1/datasets/{dataset_id}/original", "read"),
    Operation("GET /v1/campaigns/{campaign_id}/datasets", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/datasets", "campaigns:write",
              {"dataset_id": f"dst_{NOWHERE}"}),
    Operation("DELETE /v1/campaigns/{campaign_id}/datasets/{dataset_id}", "campaigns:write"),
    Operation("POST /v1/datasets/{dataset_id}/fits", "models:run", {}),
    Operation("GET /v1/datasets/{dataset_id}/fits", "read"),
    Operation("GET /v1/dataset-fits/{fit_id}", "read"),
    Operation("GET /v1/dataset-fits/{fit_id}/results", "read"),
    Operation("GET /v1/dataset-fits/{fit_id}/viability.csv", "read"),
    Operation("POST /v1/dataset-fits/{fit_id}/submissions", "measurements:write",
              {"campaign_id": f"cam_{NOWHERE}"}),
    Operation("GET /v1/campaigns/{campaign_id}/data", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/models", "models:run", {}),
    Operation("GET /v1/campaigns/{campaign_id}/models", "read"),
    Operation("GET /v1/models/{model_id}", "read"),
    Operation("GET /v1/models/{model_id}/blocks", "read"),
    Operation("GET /v1/models/{model_id}/measure-again", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/predictions", "models:run", {
        "items": [{"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1.0}]}]}),
    Operation("GET /v1/predictions/{prediction_id}", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/surfaces", "models:run", {}),
    Operation("POST /v1/campaigns/{campaign_id}/surface-samples", "models:run",
              {"compounds": ["A", "B"], "cell_line": "X"}),
    Operation("GET /v1/campaigns/{campaign_id}/surfaces", "read"),
    Operation("GET /v1/surface-fits/{surface_fit_id}", "read"),
    Operation("GET /v1/surface-fits/{surface_fit_id}/blocks", "read", None, "cell_line=X"),
    Operation("GET /v1/surface-fits/{surface_fit_id}/next-wells", "read", None,
              "cell_line=X&compound=A&partner=B"),
    Operation("POST /v1/campaigns/{campaign_id}/triage", "models:run", {}),
    Operation("GET /v1/campaigns/{campaign_id}/triage", "read"),
    Operation("GET /v1/triage-cards/{card_id}", "read"),
    Operation("GET /v1/triage-cards/{card_id}/scores", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/replays", "models:run", {}),
    Operation("GET /v1/campaigns/{campaign_id}/replays", "read"),
    Operation("GET /v1/replays/{replay_id}", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/recommendations", "models:run", {}),
    Operation("GET /v1/campaigns/{campaign_id}/recommendations", "read"),
    Operation("GET /v1/recommendations/{recommendation_id}", "read"),
    Operation("GET /v1/recommendations/{recommendation_id}/candidates/{rank}/why", "read"),
    Operation("GET /v1/recommendations/{recommendation_id}/candidates/{rank}/alternatives", "read"),
    Operation("POST /v1/recommendations/{recommendation_id}/dry-run", "read", {"ranks": [1]}),
    Operation("GET /v1/campaigns/{campaign_id}/learning-curve", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/batches", "batches:write", {
        "recommendation_id": f"rec_{NOWHERE}"}),
    Operation("GET /v1/campaigns/{campaign_id}/batches", "read"),
    Operation("GET /v1/batches/{batch_id}", "read"),
    Operation("PATCH /v1/batches/{batch_id}", "batches:write", {"status": "cancelled"}),
    Operation("POST /v1/batches/{batch_id}/items/{item_id}/replacement", "batches:write", REASON),
    Operation("GET /v1/labware", "read"),
    Operation("PUT /v1/labware", "batches:write", LABWARE),
    Operation("GET /v1/stocks", "read"),
    Operation("PUT /v1/stocks", "batches:write", {"stocks": []}),
    Operation("GET /v1/campaigns/{campaign_id}/dispensing", "read"),
    Operation("PUT /v1/campaigns/{campaign_id}/dispensing", "campaigns:write",
              {**SIZE, "stock_mm": 10.0, "tolerance": 0.9}),
    Operation("POST /v1/campaigns/{campaign_id}/plates", "measurements:write",
              "barcode,format,well,cell_line,compound_1,dose_1_um\nNEW,96,A1,X,A,1\n"),
    Operation("GET /v1/plates", "read"),
    Operation("GET /v1/plates/{plate_id}", "read"),
    Operation("GET /v1/plates/{plate_id}/map.csv", "read"),
    Operation("GET /v1/plates/{plate_id}/grid.csv", "read"),
    Operation("GET /v1/plates/{plate_id}/page", "read"),
    Operation("POST /v1/batches/{batch_id}/plates", "batches:write", SIZE),
    Operation("GET /v1/batches/{batch_id}/plates", "read"),
    Operation("POST /v1/batches/{batch_id}/plates/cancellation", "batches:write", REASON),
    Operation("GET /v1/batches/{batch_id}/picklist", "read"),
    Operation("GET /v1/batches/{batch_id}/d300", "read"),
    Operation("GET /v1/batches/{batch_id}/plates.csv", "read"),
    Operation("GET /v1/batches/{batch_id}/page", "read"),
    Operation("POST /v1/batches/{batch_id}/transfer-reports", "batches:write", "Run ID,1\n"),
    Operation("GET /v1/batches/{batch_id}/transfer-reports/{report_id}/original", "read"),
    Operation("GET /v1/campaigns/{campaign_id}/export/synergyfinder", "read"),
    Operation("POST /v1/campaigns/{campaign_id}/archives", "admin", {}),
    Operation("POST /v1/archives", "admin", "no archive"),
    Operation("GET /v1/archives", "read"),
    Operation("GET /v1/archives/{archive_id}", "read"),
    Operation("GET /v1/archives/{archive_id}/content", "admin"),
    Operation("GET /v1/jobs", "read"),
    Operation("GET /v1/jobs/{job_id}", "read"),
    Operation("DELETE /v1/jobs/{job_id}", "models:run"),
    Operation("GET /v1/jobs/{job_id}/events", "read"),
    Operation("POST /v1/webhooks", "admin", {
        "url": "https://lims.example.org/", "types": ["job.failed"]}),
    Operation("GET /v1/webhooks", "admin"),
    Operation("GET /v1/webhooks/{webhook_id}", "admin"),
    Operation("PATCH /v1/webhooks/{webhook_id}", "admin", {"active": False}),
    Operation("POST /v1/webhooks/{webhook_id}/secret-rotation", "admin", {}),
    Operation("POST /v1/webhooks/{webhook_id}/ping", "admin"),
    Operation("POST /v1/webhooks/{webhook_id}/replay", "admin", {"since": "2020-01-01T00:00:00Z"}),
    Operation("GET /v1/webhooks/{webhook_id}/deliveries", "admin"),
    Operation("GET /v1/events", "read"),
    Operation("GET /v1/events/{event_id}", "read"),
    Operation("GET /v1/workspace", "read"),
    Operation("POST /v1/api-keys", "admin", {"name": "New", "scopes": ["read"]}),
    Operation("GET /v1/api-keys", "admin"),
    Operation("DELETE /v1/api-keys/{key_id}", "admin"),
    Operation("GET /v1/audit-events", "admin"),
]  # fmt: skip
NAMED = ([{"id": f"cmp_{name}", "name": name} for name in "AB"], {"id": "cel_1", "name": "X"})
CARD = (b'{"doubling": 20, "base": -40, "base_chance": 0.2, "sections": []}', b"[]")
NOUNS = {
    "compound_id": "cmp", "cell_line_id": "cel", "campaign_id": "cam", "mark_id": "mrk",
    "submission_id": "smn", "measurement_id": "mea", "model_id": "mdl", "prediction_id": "prd",
    "recommendation_id": "rec", "batch_id": "bat", "item_id": "itm", "job_id": "job",
    "key_id": "key", "replay_id": "rpl", "field_map_id": "fmp", "webhook_id": "whk",
    "plate_id": "plt", "report_id": "tfr", "upload_id": "upl", "flag_id": "flg",
    "event_id": "evt", "archive_id": "arc", "dataset_id": "dst", "fit_id": "dsf",
    "card_id": "trg", "surface_fit_id": "sfc",
}  # fmt: skip


@pytest.fixture
def nowhere() -> dict[str, str]:
    """Well-formed ids of nothing."""
    return {name: f"{prefix}_{NOWHERE}" for name, prefix in NOUNS.items()}


@pytest.fixture
def world(lab) -> dict[str, str]:
    """The id of one row of everything."""
    with short_training():
        campaign = start_campaign(lab)
        recommendation = lab.recommend(campaign["id"])
        question = {"items": [{"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1.0}]}]}
        asked = lab.post(f"/v1/campaigns/{campaign['id']}/predictions", question)
        prediction = lab.result(asked, "prediction")
    batch = lab.ok(lab.accept(recommendation))
    mark = {"marks": [{"mark": "pin", "compounds": ["A", "B"]}]}
    marked = lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", mark))["items"][0]
    line = lab.every("/v1/cell-lines")[0]
    lab.ok(lab.patch(f"/v1/cell-lines/{line['id']}", {"features": {"EGFR": 1.0}}, 1))
    well = lab.wells(campaign["id"])[0]
    mapped = lab.ok(lab.post("/v1/field-maps", {"name": "Map", "ready": "openbis"}))
    hook = {"url": "https://lims.example.org/", "types": ["job.failed"]}
    webhook = lab.ok(lab.post("/v1/webhooks", hook))
    table = {"content": f"{PAIR_HEADER}\nX,A,9,,,0.5\n".encode()}
    upload = lab.ok(lab.request("POST", f"/v1/campaigns/{campaign['id']}/files", **table))
    archive = lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/archives", {}))
    lab.run(lab.get(f"/v1/jobs/{archive['job_id']}"))
    return {
        "upload_id": upload["id"],
        "compound_id": campaign["compounds"][0]["id"],
        "cell_line_id": line["id"],
        "campaign_id": campaign["id"],
        "mark_id": marked["id"],
        "submission_id": well["submission_id"],
        "measurement_id": well["id"],
        "model_id": recommendation["model_id"],
        "prediction_id": prediction["id"],
        "recommendation_id": recommendation["id"],
        "batch_id": batch["id"],
        "item_id": batch["items"][0]["id"],
        "job_id": recommendation["job_id"],
        "key_id": lab.every("/v1/api-keys")[0]["id"],
        "field_map_id": mapped["id"],
        "webhook_id": webhook["id"],
        "event_id": lab.every("/v1/events")[0]["id"],
        "archive_id": archive["id"],
        **_on_plates(lab, batch),
        **_learned_by_workers(lab, campaign["id"], recommendation["job_id"]),
    }


def _on_plates(lab: Any, batch: dict[str, Any]) -> dict[str, str]:
    """The batch laid out on plates, of which one well is flagged, and the robot's report."""
    give_stocks(lab)
    plate = lab.ok(lay_out(lab, batch))["plates"][0]
    picked = text(lab, f"/v1/batches/{batch['id']}/picklist")
    reported = lab.ok(report(lab, batch, model_echo(picked, seed=1)))
    flagged = {"wells": ["B3"], **REASON}
    (flag,) = lab.ok(lab.post(f"/v1/plates/{plate['id']}/flags", flagged))
    return {"plate_id": plate["id"], "report_id": reported["report"]["id"], "flag_id": flag["id"]}


def _learned_by_workers(lab: Any, campaign_id: str, job_id: str) -> dict[str, str]:
    """A replayed campaign and a fit to a data set, written down where a worker would take long."""
    dataset = time_courses(lab)
    owned = {"workspace_id": lab.workspace_id, "campaign_id": campaign_id}
    learned = dump_json({"experiments": {NAME: experiment()}})
    results = lab.parts.artifacts.put(learned.encode(), "json")
    with lab.parts.database.writing() as session:
        replay = replayed_campaign(owned, job_id)
        fit = dataset_fit(lab.workspace_id, dataset["id"], job_id, results)
        card = triage_card(owned, job_id, *map(lab.parts.artifacts.put, CARD, ["json"] * 2))
        surfaces = surface_fit(owned, job_id, lab.parts.artifacts, *NAMED)
        session.add_all([replay, fit, card, surfaces])
        ids = {"card_id": card.id, "replay_id": replay.id, "surface_fit_id": surfaces.id}
        return {**ids, "dataset_id": dataset["id"], "fit_id": fit.id}


def test_the_list_above_is_complete(http):
    paths = http.get("/openapi.json").json()["paths"]
    offered = {
        f"{method.upper()} {path}"
        for path, operations in paths.items()
        for method in operations
        if path.startswith("/v1/")
    }
    assert offered == {operation.name for operation in OPERATIONS}
    assert {operation.scope for operation in OPERATIONS} == set(DESCRIPTIONS)


def test_nobody_comes_in_without_a_key(lab, nowhere):
    with lab.untouched():
        for operation in OPERATIONS:
            response = operation.send(lab.http, nowhere)
            assert lab.refused(response, 401)["type"] == "/problems/unauthenticated", operation
            assert response.headers["www-authenticate"].startswith("Bearer"), operation


def test_a_key_without_the_scope_may_not(lab, nowhere):
    narrow = {
        scope: lab.with_scopes(*(set(DESCRIPTIONS) - {scope, "admin"})) for scope in DESCRIPTIONS
    }
    with lab.untouched():
        for operation in OPERATIONS:
            response = operation.send(narrow[operation.scope], nowhere)
            problem = lab.refused(response, 403)
            assert repr(operation.scope) in problem["detail"], operation


def test_the_scope_alone_is_enough(lab, nowhere):
    """404 or another answer of the operation itself, but never 401 or 403."""
    with_only = {scope: lab.with_scopes(scope) for scope in DESCRIPTIONS}
    for operation in OPERATIONS:
        status = operation.send(with_only[operation.scope], nowhere).status_code
        assert status in (200, 201, 202, 404, 422), (operation, status)
        assert (status == 404) == ("{" in operation.name), (operation, status)


def test_another_workspace_sees_and_changes_nothing(lab, other_lab, world, nowhere):
    """Not even whether it exists: the answers for it and for nothing differ by the id alone."""
    with lab.untouched():
        for operation in OPERATIONS:
            if "{" not in operation.name:
                continue
            foreign = other_lab.refused(operation.send(other_lab, world), 404)
            missing = other_lab.refused(operation.send(other_lab, nowhere), 404)
            for ids, problem in [(world, foreign), (nowhere, missing)]:
                for identifier in ids.values():
                    problem["detail"] = problem["detail"].replace(identifier, "ID")
                del problem["instance"]
            assert foreign == missing, operation


def test_ones_own_world_is_there(lab, world):
    """What the test above was refused is really there to see."""
    for operation in OPERATIONS:
        if operation.method == "GET":
            assert operation.send(lab, world).status_code == 200, operation


def test_lists_of_another_workspace_are_empty(lab, other_lab, world):
    for operation in OPERATIONS:
        if operation.method == "GET" and "{" not in operation.name:
            text = operation.send(other_lab, world).text
            assert not [i for i in [*world.values(), lab.workspace_id] if i in text], operation


def test_a_part_is_not_reached_through_another_whole(lab, other_lab, world):
    """Marks through a campaign and items through a batch that do not hold them."""
    with short_training():
        theirs = start_campaign(other_lab)
    swapped = {**world, "campaign_id": theirs["id"]}
    with lab.untouched():
        for name in ("DELETE /v1/campaigns/{campaign_id}/marks/{mark_id}",):
            (operation,) = [operation for operation in OPERATIONS if operation.name == name]
            other_lab.refused(operation.send(other_lab, swapped), 404)
            lab.refused(operation.send(lab, swapped), 404)


class TestHeaders:
    def test_what_is_no_key(self, lab, subtests):
        prefix, identifier, secret = lab.key.split("_")
        for value in [
            "", "Bearer", "Bearer ", f"Basic {lab.key}", lab.key, f"Bearer {lab.key}x",
            f"Bearer {prefix}_{identifier}_{'0' * 64}", f"Bearer {prefix}_{identifier}_",
            f"Bearer {prefix}__{secret}", f"Bearer xx_{identifier}_{secret}",
            f"Bearer {prefix}_{NOWHERE}_{secret}", f"Bearer {lab.key} {lab.key}",
            f"Bearer nr_{'a' * 300}_{secret}", "Bearer nr_%00_x", "Bearer nr_'--_x",
        ]:  # fmt: skip
            with subtests.test(value[:40]):
                response = lab.http.get("/v1/workspace", headers={"Authorization": value})
                problem = lab.refused(response, 401)
                assert secret not in response.text
                assert identifier not in problem["detail"]

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    def test_the_scheme_in_any_case(self, lab, scheme):
        headers = {"Authorization": f"{scheme} {lab.key}"}
        assert lab.http.get("/v1/workspace", headers=headers).json()["name"] == "Lab A"

    def test_unknown_and_wrong_keys_get_the_same_answer(self, lab):
        prefix, identifier, secret = lab.key.split("_")
        details = {
            lab.http.get("/v1/workspace", headers={"Authorization": f"Bearer {key}"}).json()[
                "detail"
            ]
            for key in (f"{prefix}_{identifier}_{'0' * 64}", f"{prefix}_{NOWHERE}_{secret}")
        }
        assert len(details) == 1
