"""The trail: who changed what, when and why, in the transaction of the change."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from service.assays.service import SubmissionService
from service.batches.service import BatchService
from service.campaigns.marks import MarkService
from service.campaigns.service import CampaignService
from service.cell_lines.service import CellLineService
from service.compounds.service import CompoundService
from service.kit.audit.tables import AuditEvent
from service.kit.auth.service import ApiKeyService
from service.kit.database import Base
from tests.lab import column
from tests.service.learning.bench import short_training, start_campaign


@pytest.fixture
def world(lab):
    """A campaign with a recommendation, an accepted batch, a mark and a second key."""
    with short_training():
        campaign = start_campaign(lab)
        recommendation = lab.recommend(campaign["id"])
    mark = {"marks": [{"mark": "pin", "compounds": ["A", "B"]}]}
    return {
        "campaign": campaign,
        "recommendation": recommendation,
        "batch": lab.ok(lab.accept(recommendation, ranks=[1])),
        "mark": lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", mark))["items"][0],
        "key": lab.ok(lab.post("/v1/api-keys", {"name": "LIMS", "scopes": ["read"]})),
        "well": lab.wells(campaign["id"])[0],
    }


def changes(lab, world):
    """(what to call, what it must leave in the trail, the service's method) of every change."""
    campaign = f"/v1/campaigns/{world['campaign']['id']}"
    compound = f"/v1/compounds/{world['campaign']['compounds'][0]['id']}"
    line = f"/v1/cell-lines/{world['campaign']['cell_lines'][0]['id']}"
    batch = f"/v1/batches/{world['batch']['id']}"
    item = f"{batch}/items/{world['batch']['items'][0]['id']}/replacement"
    well = f"/v1/measurements/{world['well']['id']}/corrections"
    table = "cell_line,compound_1,dose_1_um,viability_fraction\nX,A,77,0.5\n"
    members = {"compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]}
    mark = {"marks": [{"mark": "ban", "compounds": ["A", "C"]}]}
    new = {"compounds": [{"name": "New", "smiles": "CCO"}]}
    why = {"reason": "because"}
    return [
        (lambda: lab.post("/v1/compounds", new), "compound.created", CompoundService, "register"),
        (lambda: lab.patch(compound, {"name": "Ay"}, 1), "compound.changed",
         CompoundService, "patch"),
        (lambda: lab.post("/v1/cell-lines", {"cell_lines": [{"name": "Z"}]}), "cell_line.created",
         CellLineService, "register"),
        (lambda: lab.patch(line, {"tissue": "skin"}, 1), "cell_line.changed",
         CellLineService, "patch"),
        (lambda: lab.post("/v1/campaigns", {"name": "New", **members}), "campaign.created",
         CampaignService, "create"),
        (lambda: lab.patch(campaign, {"note": "new"}, 1), "campaign.changed",
         CampaignService, "patch"),
        (lambda: lab.post(f"{campaign}/marks", mark), "candidate_mark.created",
         MarkService, "write"),
        (lambda: lab.delete(f"{campaign}/marks/{world['mark']['id']}"), "candidate_mark.deleted",
         MarkService, "remove"),
        (lambda: lab.submit(world["campaign"]["id"], table), "submission.created",
         SubmissionService, "submit"),
        (lambda: lab.post(well, {"value": 0.5, **why}), "measurement.corrected",
         SubmissionService, "correct"),
        (lambda: lab.post(f"{campaign}/models", {}), "job.requested", None, None),
        (lambda: lab.post(f"{campaign}/recommendations", {}), "job.requested",
         BatchService, "recommend"),
        (lambda: lab.accept(world["recommendation"], ranks=[3]), "batch.created",
         BatchService, "accept"),
        (lambda: lab.post(item, why), "batch_item.changed", BatchService, "replace"),
        (lambda: lab.patch(batch, {"status": "running"}, 2), "batch.changed",
         BatchService, "patch"),
        (lambda: lab.post("/v1/api-keys", {"name": "K", "scopes": ["read"]}), "api_key.created",
         ApiKeyService, "create"),
        (lambda: lab.delete(f"/v1/api-keys/{world['key']['id']}"), "api_key.changed",
         ApiKeyService, "revoke"),
    ]  # fmt: skip


def test_every_change_leaves_its_event(lab, world):
    own = lab.every("/v1/api-keys")[0]["id"]
    for number, (call, action, *_) in enumerate(changes(lab, world)):
        before = {event["id"] for event in lab.events()}
        lab.headers["X-Request-ID"] = f"change-number-{number}"
        response = call()
        assert response.status_code < 300, (action, response.text)
        new = [event for event in lab.events() if event["id"] not in before]
        assert action in column(new, "action")
        assert {event["actor"] for event in new} == {own}
        assert {event["request_id"] for event in new} == {f"change-number-{number}"}


def test_a_change_that_fails_at_the_end_leaves_neither_rows_nor_events(lab, world, monkeypatch):
    for call, action, service, method in changes(lab, world):
        if service is None:
            continue
        original = getattr(service, method)

        def broken(*args, original=original, **more):
            original(*args, **more)
            raise RuntimeError("the power went out")

        with monkeypatch.context() as patch, lab.untouched():
            patch.setattr(service, method, broken)
            assert call().status_code == 500, action
        assert call().status_code < 300, action


def test_every_table_is_covered_or_has_its_reason():
    """A new table either records itself or stands here with why it does not."""
    others = {
        "workspace": "made by the operator, before there is anybody to record",
        "audit_event": "the trail itself",
        "idempotent_answer": "answers, not state",
        "measurement": "append-only; one event stands for its submission, one for a correction",
        "campaign_pair": "one event stands for all of a request",
        "job": "one event stands for asking; the rest is the worker's",
        "job_event": "a trail of its own",
        "job_step": "a worker's notes",
        "worker_lease": "machines, not experiments",
        "outbox_event": "tells of changes that the trail holds already",
        "webhook_delivery": "has attempts of its own",
        "plate_reading": "append-only; one event stands for its upload",
    }
    audited = {
        mapper.class_.__tablename__
        for mapper in Base.registry.mappers
        if getattr(mapper.class_, "__audited__", False)
    }
    assert set(Base.metadata.tables) == audited | set(others)
    assert not audited & set(others)


class TestContent:
    def test_created_holds_what_is_stored(self, lab):
        campaign = lab.campaign(note="n")
        (event,) = lab.events("campaign.created")
        assert (event["subject_type"], event["subject_id"]) == ("campaign", campaign["id"])
        assert event["old"] is None
        assert event["new"]["note"] == "n"
        assert event["new"]["version"] == 1
        stored = datetime.fromisoformat(event["new"]["created_at"])
        assert stored == datetime.fromisoformat(campaign["created_at"])

    def test_changed_holds_both_values_of_what_changed_and_no_more(self, lab):
        campaign = lab.campaign()
        body = {"name": "Renamed", "note": None}
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", body, 1))
        (event,) = lab.events("campaign.changed")
        assert (event["old"].pop("name"), event["new"].pop("name")) == ("Campaign", "Renamed")
        assert set(event["old"]) == set(event["new"]) == {"updated_at"}

    def test_deleted_holds_what_was(self, lab):
        campaign = lab.campaign()
        marks = f"/v1/campaigns/{campaign['id']}/marks"
        item = {"mark": "ban", "compounds": ["A", "B"], "reason": "toxic"}
        (mark,) = lab.ok(lab.post(marks, {"marks": [item]}))["items"]
        assert lab.delete(f"{marks}/{mark['id']}").status_code == 204
        (event,) = lab.events("candidate_mark.deleted")
        assert (event["old"]["id"], event["old"]["reason"]) == (mark["id"], "toxic")
        assert event["new"] is None

    def test_time_is_the_servers(self, lab):
        lab.compounds("A")
        (event,) = lab.events("compound.created")
        age = datetime.now().astimezone() - datetime.fromisoformat(event["at"])
        assert timedelta(0) <= age < timedelta(minutes=1)

    def test_a_request_id_that_is_none_is_replaced(self, lab):
        lab.headers["X-Request-ID"] = "no good; id"
        lab.compounds("A")
        (event,) = lab.events("compound.created")
        assert event["request_id"].startswith("req_")

    def test_nothing_changed_leaves_nothing(self, lab):
        lab.campaign()
        before = lab.events()
        compound = lab.every("/v1/compounds")[0]
        lab.ok(lab.patch(f"/v1/compounds/{compound['id']}", {"name": compound["name"]}, 1))
        lab.refused(lab.patch(f"/v1/compounds/{compound['id']}", {"name": "B"}, 1), 422)
        assert lab.events() == before

    def test_long_values_stay_out(self, lab, world):
        """Answers, fingerprints and features are stored once, not once more in the trail."""
        question = {"items": [{"cell_line": "X", "doses": [{"compound": "A", "dose_um": 1.0}]}]}
        with short_training():
            asked = lab.post(f"/v1/campaigns/{world['campaign']['id']}/predictions", question)
            lab.result(asked, "prediction")
        lab.post("/v1/compounds", {"compounds": [{"name": "New", "smiles": "CCO"}]})
        values = {"cell_lines": [{"name": "Z", "features": {"EGFR": 12.5}}]}
        lab.ok(lab.post("/v1/cell-lines", values))
        (prediction,) = lab.events("prediction.created")
        assert (prediction["new"]["n_items"], "items" in prediction["new"]) == (1, False)
        for event in lab.events():
            assert not {"fingerprint", "values", "items"} & set(event["new"] or {})


class TestReading:
    def test_oldest_first_and_by_subject(self, lab):
        campaign = lab.campaign()
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"note": "n"}, 1))
        everything = lab.events()
        assert column(everything, "id") == sorted(column(everything, "id"))
        own = lab.events(subject_id=campaign["id"])
        assert column(own, "action") == ["campaign.created", "campaign.changed"]
        assert own == [event for event in everything if event["subject_id"] == campaign["id"]]

    def test_subjects_that_are_none(self, lab):
        for subject in ("", "x'y", "a%", "a" * 81):
            lab.refused(lab.get("/v1/audit-events", params={"subject_id": subject}), 422)

    def test_of_another_workspace(self, lab, other_lab):
        campaign = lab.campaign()
        assert other_lab.events(subject_id=campaign["id"]) == []
        assert {event["actor"] for event in other_lab.events()} == {"operator"}
        own = {event["id"] for event in lab.events()}
        assert not own & {event["id"] for event in other_lab.events()}

    def test_nobody_writes_it_over_http(self, lab):
        event = lab.events()[0]
        with lab.untouched():
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                for path in ("/v1/audit-events", f"/v1/audit-events/{event['id']}"):
                    assert lab.request(method, path, json={}).status_code in (404, 405)


def test_the_first_key_was_made_by_the_operator(lab):
    with lab.parts.database.reading() as session:
        (event,) = session.scalars(select(AuditEvent)).all()
    assert (event.action, event.actor, event.request_id) == ("api_key.created", "operator", None)
