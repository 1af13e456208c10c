"""`/v1/api-keys`: made once, shown once, revoked at once."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from service.kit.auth import verify
from service.kit.auth.principal import Principal
from service.kit.auth.service import ApiKeyService
from service.kit.auth.tables import ApiKey
from service.kit.problems import Forbidden
from tests.lab import codes, column


def create(lab, **body):
    return lab.post("/v1/api-keys", {"name": "LIMS", "scopes": ["read"], **body})


def stored(lab, key):
    with lab.parts.database.reading() as session:
        return session.get(ApiKey, key["id"])


def expire(lab, key):
    with lab.parts.database.writing() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(ApiKey).where(ApiKey.id == key["id"]).values(expires_at=past))


class TestCreating:
    def test_it_works_and_is_shown_once(self, lab):
        made = lab.ok(create(lab, scopes=["read", "models:run", "read"]))
        assert made["scopes"] == ["models:run", "read"]
        assert made["expires_at"] is made["revoked_at"] is made["last_used_at"] is None
        assert lab.with_key(made["key"]).get("/v1/compounds").status_code == 200
        listed = lab.every("/v1/api-keys")
        assert column(listed, "name") == ["first key", "LIMS"]
        assert all("key" not in row for row in listed)
        secret = made["key"].split("_")[2]
        assert secret not in lab.get("/v1/api-keys").text

    def test_only_a_hash_of_the_secret_is_stored(self, lab):
        made = lab.ok(create(lab))
        secret = made["key"].split("_")[2]
        assert len(secret) == 64
        row = stored(lab, made)
        assert row.secret_sha256 == verify.hash_secret(secret)
        assert secret not in str(vars(row))

    def test_every_key_is_another(self, lab):
        made = [lab.ok(create(lab)) for _ in range(3)]
        assert len({key["key"] for key in made}) == len({key["id"] for key in made}) == 3

    def test_a_replay_does_not_show_the_secret(self, lab):
        key = {"Idempotency-Key": "make-lims-key"}
        body = {"name": "LIMS", "scopes": ["read"]}
        first = lab.ok(lab.post("/v1/api-keys", body, headers=key))
        with lab.untouched():
            response = lab.post("/v1/api-keys", body, headers=key)
        assert response.headers["idempotency-replayed"] == "true"
        assert response.json() == {**first, "key": None}
        assert first["key"].split("_")[2] not in response.text

    def test_neither_secret_nor_hash_is_in_the_trail_or_the_stored_answer(self, lab):
        made = lab.ok(
            lab.post("/v1/api-keys", {"name": "LIMS", "scopes": ["read"]},
                     headers={"Idempotency-Key": "k"})
        )  # fmt: skip
        (event,) = lab.events(subject_id=made["id"])
        assert (event["action"], event["new"]["scopes"]) == ("api_key.created", ["read"])
        secret = made["key"].split("_")[2]
        with lab.parts.database.reading() as session:
            from service.kit.audit.tables import AuditEvent
            from service.kit.idempotency.tables import IdempotentAnswer

            kept = [row.new for row in session.scalars(select(AuditEvent))]
            kept += [row.body for row in session.scalars(select(IdempotentAnswer))]
        for hidden in (secret, verify.hash_secret(secret)):
            assert hidden not in str(kept)

    def test_refusals(self, lab, subtests):
        for body, pointer in [
            ({"name": " "}, "/name"),
            ({"scopes": []}, "/scopes"),
            ({"scopes": ["root"]}, "/scopes/0"),
            ({"scopes": "read"}, "/scopes"),
            ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
            ({"expires_at": "2100-01-01T00:00:00"}, "/expires_at"),
            ({"expires_at": "soon"}, "/expires_at"),
            ({"expires_at": "9999-12-31T23:59:59-12:00"}, "/expires_at"),
            ({"key": "mine"}, "/key"),
        ]:
            with subtests.test(str(body)), lab.untouched():
                problem = lab.refused(create(lab, **body), 422)
                assert codes(problem)[0][1] == pointer

    def test_nobody_gives_what_he_does_not_have(self, lab):
        narrow = Principal(lab.workspace_id, "key_narrow", frozenset({"read", "models:run"}))
        with lab.untouched(), lab.parts.database.session(write=True) as session:
            with pytest.raises(Forbidden, match="admin, batches:write"):
                ApiKeyService(session, narrow).create(
                    "more", ["read", "batches:write", "admin"], None
                )
            session.rollback()


class TestRevoking:
    def test_at_once_and_for_good(self, lab):
        made = lab.ok(create(lab))
        narrow = lab.with_key(made["key"])
        assert narrow.get("/v1/workspace").status_code == 200
        gone = lab.ok(lab.delete(f"/v1/api-keys/{made['id']}"))
        assert gone["revoked_at"] is not None
        problem = narrow.refused(narrow.get("/v1/workspace"), 401)
        assert "expired or was revoked" in problem["detail"]
        assert column(lab.every("/v1/api-keys"), "id")[1] == made["id"]

    def test_again_changes_nothing(self, lab):
        made = lab.ok(create(lab))
        gone = lab.ok(lab.delete(f"/v1/api-keys/{made['id']}"))
        with lab.untouched():
            assert lab.ok(lab.delete(f"/v1/api-keys/{made['id']}")) == gone

    def test_a_key_cannot_revoke_itself(self, lab):
        (own,) = lab.every("/v1/api-keys")
        with lab.untouched():
            problem = lab.refused(lab.delete(f"/v1/api-keys/{own['id']}"), 409)
        assert "another administrator" in problem["detail"]
        second = lab.with_scopes("admin")
        assert second.delete(f"/v1/api-keys/{own['id']}").status_code == 200
        lab.refused(lab.get("/v1/workspace"), 401)

    def test_it_is_in_the_trail(self, lab):
        made = lab.ok(create(lab))
        lab.ok(lab.delete(f"/v1/api-keys/{made['id']}"))
        event = lab.events("api_key.changed")[-1]
        assert event["subject_id"] == made["id"]
        assert (event["old"]["revoked_at"], event["actor"]) == (None, lab.events()[0]["subject_id"])

    def test_of_another_workspace(self, lab, other_lab):
        made = lab.ok(create(lab))
        with lab.untouched():
            other_lab.refused(other_lab.delete(f"/v1/api-keys/{made['id']}"), 404)
        assert lab.with_key(made["key"]).get("/v1/workspace").status_code == 200
        assert column(other_lab.every("/v1/api-keys"), "name") == ["first key"]


class TestExpiring:
    def test_on_time(self, lab):
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        made = lab.ok(create(lab, expires_at=later))
        assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(later)
        timed = lab.with_key(made["key"])
        assert timed.get("/v1/workspace").status_code == 200
        expire(lab, made)
        timed.refused(timed.get("/v1/workspace"), 401)

    def test_a_time_in_another_zone_is_the_same_time(self, lab):
        made = lab.ok(create(lab, expires_at="2100-06-01T12:00:00+09:00"))
        expected = datetime(2100, 6, 1, 3, tzinfo=UTC)
        assert datetime.fromisoformat(made["expires_at"]) == expected
        assert stored(lab, made).expires_at == expected


class TestLastUse:
    def test_is_noted_but_seldom(self, lab, monkeypatch):
        made = lab.ok(create(lab))
        used = lab.with_key(made["key"])
        assert used.get("/v1/workspace").status_code == 200
        first = stored(lab, made).last_used_at
        assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
        assert used.get("/v1/workspace").status_code == 200
        assert stored(lab, made).last_used_at == first
        monkeypatch.setattr(verify, "_NOTE_EVERY", timedelta(0))
        assert used.get("/v1/workspace").status_code == 200
        assert stored(lab, made).last_used_at > first

    def test_a_refused_key_is_not_used(self, lab):
        made = lab.ok(create(lab))
        expire(lab, made)
        lab.with_key(made["key"]).get("/v1/workspace")
        assert stored(lab, made).last_used_at is None

    def test_a_database_that_is_busy_holds_no_reader_up(self, lab):
        made = lab.ok(create(lab))
        with lab.parts.database.writing() as session:
            session.execute(update(ApiKey).where(ApiKey.id == made["id"]).values(name="held"))
            began = time.monotonic()
            assert lab.with_key(made["key"]).get("/v1/workspace").status_code == 200
            assert time.monotonic() - began < 10  # SQLite would wait for 20 s
        assert stored(lab, made).last_used_at is None
        assert lab.with_key(made["key"]).get("/v1/workspace").status_code == 200
        assert stored(lab, made).last_used_at is not None

    def test_it_leaves_no_event(self, lab):
        made = lab.ok(create(lab))
        before = lab.events()
        lab.with_key(made["key"]).get("/v1/workspace")
        assert lab.events() == before
