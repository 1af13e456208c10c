"""From a subscription to a signed message: retries, failures, replay, rotation, isolation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from service.integrations import queue
from service.integrations import service as rules
from service.integrations.addresses import Policy
from service.integrations.dispatcher import Dispatcher, send
from service.integrations.queue import CLAIM_S, WAITS_S, Claimed
from service.integrations.sending import Answer
from service.integrations.signing import signature
from service.integrations.tables import WebhookDelivery
from service.kit.database import utcnow
from service.settings import Settings
from tests.lab import Lab
from tests.service.integrations.receiver import receiving

URL = "https://lims.example.org/hook"
EVERYTHING = ["submission.stored", "batch.accepted", "job.failed"]
OK, DOWN, GONE = Answer(204, None, 0.1), Answer(503, "answered 503", 0.1), Answer(410, "x", 0.1)


@dataclass
class Post:
    """What would be sent, and the clock of the worker that sends it."""

    lab: Lab
    answers: list[Answer] = field(default_factory=lambda: [OK])
    sent: list[Claimed] = field(default_factory=list)

    def send(self, claimed: Claimed) -> Answer:
        self.sent.append(claimed)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def look(self) -> int:
        dispatcher = Dispatcher(self.lab.parts, self.send)
        try:
            return dispatcher.look()
        finally:
            dispatcher.stop()

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(claimed.body) for claimed in self.sent]

    def hurry(self) -> None:
        """Make everything that waits due now."""
        with self.lab.parts.database.writing() as session:
            for row in session.query(WebhookDelivery).filter_by(status="pending"):
                row.due_at = utcnow() - timedelta(seconds=1)


@pytest.fixture
def post(lab: Lab) -> Post:
    return Post(lab)


def subscribe(lab: Lab, **more: Any) -> dict[str, Any]:
    body = {"url": URL, "types": EVERYTHING, **more}
    webhook: dict[str, Any] = lab.ok(lab.post("/v1/webhooks", body))
    return webhook


def happen(lab: Lab) -> dict[str, Any]:
    """Something that is told."""
    campaign = lab.campaign()
    return lab.measure(campaign["id"], "X,A,1,B,1,0.5")


def deliveries(lab: Lab, webhook: dict[str, Any], **query: Any) -> list[Any]:
    return lab.every(f"/v1/webhooks/{webhook['id']}/deliveries", **query)


def state(lab: Lab, webhook: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = lab.ok(lab.get(f"/v1/webhooks/{webhook['id']}"))
    return found


class TestSubscribing:
    def test_the_secret_is_shown_once(self, lab: Lab) -> None:
        body = {"url": URL, "types": ["batch.accepted"]}
        key = {"Idempotency-Key": "once"}
        first = lab.ok(lab.post("/v1/webhooks", body, headers=key))
        assert first["secret"].startswith("whsec_")
        again = lab.ok(lab.post("/v1/webhooks", body, headers=key))
        assert (again["id"], again["secret"]) == (first["id"], None)
        assert first["secret"] not in lab.get("/v1/webhooks").text
        assert first["secret"] not in lab.get("/v1/audit-events").text

    @pytest.mark.parametrize(
        "change",
        [
            {"url": "http://127.0.0.1/"}, {"url": "https://169.254.169.254/"}, {"types": []},
            {"types": ["batch.eaten"]}, {"url": "https://u:p@x.org/"}, {"unknown": 1},
        ],
    )  # fmt: skip
    def test_what_is_refused(self, lab: Lab, change: dict[str, Any]) -> None:
        with lab.untouched():
            body = {"url": URL, "types": EVERYTHING, **change}
            lab.refused(lab.post("/v1/webhooks", body), 422)

    def test_only_an_administrator(self, lab: Lab) -> None:
        narrow = lab.with_scopes("read", "batches:write")
        lab.refused(narrow.post("/v1/webhooks", {"url": URL, "types": EVERYTHING}), 403)
        lab.refused(narrow.get("/v1/webhooks"), 403)

    def test_changing_needs_the_version(self, lab: Lab) -> None:
        webhook = subscribe(lab)
        path = f"/v1/webhooks/{webhook['id']}"
        lab.refused(lab.patch(path, {"active": False}, None), 428)
        changed = lab.ok(lab.patch(path, {"active": False, "types": ["job.failed"]}, 1))
        assert (changed["active"], changed["types"]) == (False, ["job.failed"])
        assert changed["disabled_reason"]
        back = lab.ok(lab.patch(path, {"active": True}, changed["version"]))
        assert (back["active"], back["disabled_reason"], back["disabled_at"]) == (True, None, None)
        lab.refused(lab.patch(path, {"url": "http://10.0.0.1/"}, back["version"]), 422)

    def test_a_workspace_does_not_hoard(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rules, "MAX_WEBHOOKS", 3)
        for _ in range(3):
            subscribe(lab)
        lab.refused(lab.post("/v1/webhooks", {"url": URL, "types": EVERYTHING}), 409)


class TestDelivering:
    def test_an_event_is_told_to_whoever_wants_it(self, lab: Lab, post: Post) -> None:
        webhook, other = subscribe(lab), subscribe(lab, types=["batch.accepted"])
        submission = happen(lab)
        assert post.look() == 1
        (claimed,) = post.sent
        assert (claimed.url, claimed.secrets) == (URL, (webhook["secret"],))
        (body,) = post.bodies()
        assert body["type"] == "submission.stored"
        assert body["data"]["link"] == f"/v1/submissions/{submission['id']}"
        assert body["data"]["campaign_id"] == submission["campaign_id"]
        (delivery,) = deliveries(lab, webhook)
        assert (delivery["status"], delivery["due_at"]) == ("delivered", None)
        assert delivery["attempts"][0]["status"] == 204
        assert deliveries(lab, other) == []
        assert post.look() == 0

    def test_the_results_themselves_stay_in_the_house(self, lab: Lab, post: Post) -> None:
        subscribe(lab)
        campaign = lab.campaign(name="Secret project")
        lab.measure(campaign["id"], "X,A,1,B,1,0.123456")
        post.look()
        text = post.sent[0].body.decode()
        assert not [word for word in ("0.123456", "Secret") if word in text]

    def test_nothing_from_before_the_subscription(self, lab: Lab, post: Post) -> None:
        happen(lab)
        subscribe(lab)
        assert post.look() == 0

    def test_other_workspaces_are_not_told(self, lab: Lab, other_lab: Lab, post: Post) -> None:
        subscribe(other_lab)
        webhook = subscribe(lab)
        happen(lab)
        post.look()
        assert [claimed.webhook_id for claimed in post.sent] == [webhook["id"]]

    def test_two_workers_do_not_send_twice(self, lab: Lab) -> None:
        subscribe(lab)
        happen(lab)
        now, claims = utcnow(), []
        for _ in range(2):
            with lab.parts.database.writing() as session:
                queue.fan_out(session, now)
            with lab.parts.database.writing() as session:
                claims.append(queue.claim(session, now))
        assert list(map(len, claims)) == [1, 0]
        # The worker that claimed it died: it is due again after a while.
        later = now + timedelta(seconds=CLAIM_S + 1)
        with lab.parts.database.writing() as session:
            (again,) = queue.claim(session, later)
        assert (again.id, again.event_id) == (claims[0][0].id, claims[0][0].event_id)

    def test_one_at_a_time_for_each_receiver(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        campaign = lab.campaign()
        for dose in (1, 2, 3):
            lab.measure(campaign["id"], f"X,A,{dose},B,1,0.5")
        assert [post.look() for _ in range(4)] == [1, 1, 1, 0]
        order = [claimed.event_id for claimed in post.sent]
        assert order == sorted(order)
        assert len(deliveries(lab, webhook, status="delivered")) == 3

    def test_over_the_wire(self, lab: Lab) -> None:
        """Signed so that a receiver can check it with nothing but the secret."""
        settings = Settings(webhook_private="allow", webhook_private_networks="127.0.0.0/8")
        policy = Policy.of(settings)
        with receiving() as receiver:
            webhook = subscribe(lab)
            with lab.parts.database.writing() as session:
                row = session.get(queue.Webhook, webhook["id"])
                assert row is not None
                row.url = receiver.url
            happen(lab)
            Dispatcher(lab.parts, lambda claimed: send(claimed, policy)).look()
            ((_, headers, body),) = receiver.requests
        (event,) = lab.every("/v1/events")
        assert headers["webhook-id"] == event["id"]
        stamp = int(headers["webhook-timestamp"])
        assert abs(stamp - utcnow().timestamp()) < 60
        expected = signature(webhook["secret"], event["id"], stamp, body)
        assert headers["webhook-signature"] == expected
        assert headers["content-type"] == "application/json"


class TestFailing:
    def test_it_is_tried_again_with_the_same_id_and_body(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        happen(lab)
        post.answers = [DOWN, OK]
        post.look()
        (waiting,) = deliveries(lab, webhook)
        assert (waiting["status"], waiting["attempts"][0]["error"]) == ("pending", "answered 503")
        assert post.look() == 0  # not yet
        post.hurry()
        post.look()
        first, second = post.sent
        assert (first.event_id, first.body) == (second.event_id, second.body)
        (done,) = deliveries(lab, webhook)
        assert (done["status"], len(done["attempts"])) == ("delivered", 2)

    def test_pauses_grow_to_a_day_in_all(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        happen(lab)
        post.answers = [DOWN]
        pauses = []
        for _ in WAITS_S:
            before = utcnow()
            assert post.look() == 1
            with lab.parts.database.reading() as session:
                (row,) = session.query(WebhookDelivery).all()
                assert row.due_at is not None
                pauses.append((row.due_at - before).total_seconds())
            post.hurry()
        for pause, planned in zip(pauses, WAITS_S, strict=True):
            assert planned <= pause <= 1.1 * planned + 2
        assert 0.9 * 86_400 < sum(WAITS_S) < 1.1 * 86_400
        post.look()
        (failed,) = deliveries(lab, webhook)
        assert (failed["status"], len(failed["attempts"])) == ("failed", len(WAITS_S) + 1)
        after = state(lab, webhook)
        assert after["active"] is False
        assert "answered 503" in after["disabled_reason"]
        actions = [e["new"] for e in lab.events("webhook.changed")]
        assert actions[-1]["active"] is False

    def test_a_receiver_that_takes_other_events_stays(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        happen(lab)
        post.answers = [DOWN]
        for _ in WAITS_S:
            post.hurry()
            post.look()
        lab.ok(lab.post(f"/v1/webhooks/{webhook['id']}/ping"))
        post.answers = [OK, DOWN]
        post.look()
        post.hurry()
        post.look()
        assert [row["status"] for row in deliveries(lab, webhook)] == ["failed", "delivered"]
        assert state(lab, webhook)["active"] is True

    def test_gone_disables_at_once(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        happen(lab)
        post.answers = [GONE]
        post.look()
        assert deliveries(lab, webhook)[0]["status"] == "failed"
        assert "410" in state(lab, webhook)["disabled_reason"]
        happen_again = lab.every("/v1/campaigns")[0]
        lab.measure(happen_again["id"], "Y,A,1,B,1,0.5")
        assert post.look() == 0

    def test_what_was_on_its_way_goes_on_after_activation(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        happen(lab)
        post.answers = [DOWN, OK]
        post.look()
        path = f"/v1/webhooks/{webhook['id']}"
        off = lab.ok(lab.patch(path, {"active": False}, 1))
        post.hurry()
        assert post.look() == 0
        lab.ok(lab.patch(path, {"active": True}, off["version"]))
        assert post.look() == 1
        assert deliveries(lab, webhook)[0]["status"] == "delivered"

    def test_the_receiver_may_ask_for_more_time(self, lab: Lab, post: Post) -> None:
        subscribe(lab)
        happen(lab)
        post.answers = [Answer(503, "answered 503", 0.1, retry_after_s=600.0)]
        before = utcnow()
        post.look()
        with lab.parts.database.reading() as session:
            (row,) = session.query(WebhookDelivery).all()
            assert row.due_at is not None
            assert (row.due_at - before).total_seconds() >= 600

    def test_a_sender_that_crashes_costs_a_delay(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        happen(lab)

        def crash(claimed: Claimed) -> Answer:
            raise RuntimeError("out of memory")

        assert Dispatcher(lab.parts, crash).look() == 1
        assert deliveries(lab, webhook)[0]["status"] == "pending"
        post.hurry()
        post.look()
        assert deliveries(lab, webhook)[0]["status"] == "delivered"


class TestAgain:
    def test_ping_goes_to_one_webhook(self, lab: Lab, post: Post) -> None:
        webhook, _ = subscribe(lab), subscribe(lab)
        answer = lab.post(f"/v1/webhooks/{webhook['id']}/ping")
        assert answer.status_code == 202
        post.look()
        (body,) = post.bodies()
        assert (body["type"], body["data"]["id"]) == ("webhook.test", webhook["id"])
        assert deliveries(lab, webhook)[0]["id"] == answer.json()["id"]

    def test_one_event(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        happen(lab)
        post.look()
        (event,) = lab.every("/v1/events")
        path = f"/v1/webhooks/{webhook['id']}/replay"
        body = {"event_id": event["id"]}
        assert lab.ok(lab.post(path, body)) == {"queued": 1, "underway": 0}
        assert lab.ok(lab.post(path, body)) == {"queued": 0, "underway": 1}
        post.look()
        first, second = post.sent
        assert (first.event_id, first.body) == (second.event_id, second.body)
        assert [row["replayed"] for row in deliveries(lab, webhook)] == [False, True]

    def test_a_time_range(self, lab: Lab, post: Post) -> None:
        began = utcnow()
        campaign = lab.campaign()
        for dose in (1, 2):
            lab.measure(campaign["id"], f"X,A,{dose},B,1,0.5")
        webhook = subscribe(lab)
        path = f"/v1/webhooks/{webhook['id']}/replay"
        assert lab.ok(lab.post(path, {"since": began.isoformat()}))["queued"] == 2
        assert (post.look(), post.look(), post.look()) == (1, 1, 0)
        earlier = {"since": "2020-01-01T00:00:00Z", "until": began.isoformat()}
        assert lab.ok(lab.post(path, earlier))["queued"] == 0

    def test_before_the_event_was_dispatched(self, lab: Lab, post: Post) -> None:
        """The dispatcher comes later and finds it on its way already."""
        webhook = subscribe(lab)
        happen(lab)
        (event,) = lab.every("/v1/events")
        lab.ok(lab.post(f"/v1/webhooks/{webhook['id']}/replay", {"event_id": event["id"]}))
        assert [post.look(), post.look()] == [1, 0]

    @pytest.mark.parametrize(
        "body",
        [
            {}, {"event_id": "evt_00000000000000000000000000", "since": "2020-01-01T00:00:00Z"},
            {"since": "2020-01-01T00:00:00"}, {"until": "2020-01-01T00:00:00Z"},
            {"since": "2021-01-01T00:00:00Z", "until": "2020-01-01T00:00:00Z"},
        ],
    )  # fmt: skip
    def test_what_to_replay_must_be_said(self, lab: Lab, body: dict[str, Any]) -> None:
        webhook = subscribe(lab)
        lab.refused(lab.post(f"/v1/webhooks/{webhook['id']}/replay", body), 422)

    def test_a_webhook_that_is_off(self, lab: Lab) -> None:
        webhook = subscribe(lab)
        path = f"/v1/webhooks/{webhook['id']}"
        lab.ok(lab.patch(path, {"active": False}, 1))
        lab.refused(lab.post(f"{path}/ping"), 409)
        lab.refused(lab.post(f"{path}/replay", {"since": "2020-01-01T00:00:00Z"}), 409)


class TestRotating:
    def rotate(self, lab: Lab, webhook: dict[str, Any], hours: int) -> dict[str, Any]:
        path = f"/v1/webhooks/{webhook['id']}/secret-rotation"
        rotated: dict[str, Any] = lab.ok(lab.post(path, {"keep_old_hours": hours}))
        return rotated

    def test_both_secrets_sign_for_a_while(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        rotated = self.rotate(lab, webhook, 24)
        assert rotated["secret"] != webhook["secret"]
        happen(lab)
        post.look()
        assert post.sent[0].secrets == (rotated["secret"], webhook["secret"])
        with lab.parts.database.reading() as session:
            row = session.get(queue.Webhook, webhook["id"])
            assert row is not None
            later = utcnow() + timedelta(hours=25)
            assert queue.valid_secrets(row, later) == (rotated["secret"],)

    def test_a_secret_that_leaked_ends_at_once(self, lab: Lab, post: Post) -> None:
        webhook = subscribe(lab)
        rotated = self.rotate(lab, webhook, 0)
        happen(lab)
        post.look()
        assert post.sent[0].secrets == (rotated["secret"],)


def test_old_events_are_forgotten_with_their_deliveries(lab: Lab, post: Post) -> None:
    webhook = subscribe(lab)
    happen(lab)
    post.look()
    with lab.parts.database.writing() as session:
        assert queue.forget(session, utcnow() - timedelta(days=1)) == 0
    with lab.parts.database.writing() as session:
        assert queue.forget(session, utcnow() + timedelta(seconds=1)) == 1
    assert (lab.every("/v1/events"), deliveries(lab, webhook)) == ([], [])


def test_a_dispatcher_in_its_thread(lab: Lab, post: Post, until: Callable[..., Any]) -> None:
    webhook = subscribe(lab)
    happen(lab)
    dispatcher = Dispatcher(lab.parts, post.send)
    dispatcher.start()
    until(lambda: [d for d in deliveries(lab, webhook) if d["status"] == "delivered"])
    dispatcher.stop()
    assert len(post.sent) == 1
