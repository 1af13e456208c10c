"""`Idempotency-Key`: one request, one effect, one answer, however often it is sent."""

from datetime import timedelta

from sqlalchemy import select, update

from service.compounds.service import CompoundService
from service.kit.database import utcnow
from service.kit.idempotency.store import LIFETIME, forget_old
from service.kit.idempotency.tables import IdempotentAnswer
from tests.lab import PAIR_HEADER, at_once, codes, column

BODY = {"compounds": [{"name": "A"}]}
OTHER = {"compounds": [{"name": "B"}]}


def post(lab, body=BODY, key="key-1", path="/v1/compounds", **more):
    return lab.post(path, body, headers={"Idempotency-Key": key}, **more)


def answers(lab):
    with lab.parts.database.reading() as session:
        return list(session.scalars(select(IdempotentAnswer)))


def age(lab, by):
    with lab.parts.database.writing() as session:
        session.execute(update(IdempotentAnswer).values(created_at=utcnow() - by))


class TestReplay:
    def test_the_first_answer_comes_again(self, lab):
        first = post(lab)
        assert first.status_code == 201
        assert "idempotency-replayed" not in first.headers
        with lab.untouched():
            second = post(lab)
        assert second.status_code == 201
        assert second.headers["idempotency-replayed"] == "true"
        assert second.headers["content-type"] == first.headers["content-type"]
        assert second.content == first.content
        assert second.headers["x-request-id"] != first.headers["x-request-id"]

    def test_with_location_and_etag(self, lab):
        lab.campaign()
        body = {"name": "C", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]}
        first, second = (post(lab, body, path="/v1/campaigns") for _ in range(2))
        for header in ("location", "etag"):
            assert second.headers[header] == first.headers[header]
        assert column(lab.every("/v1/campaigns"), "name") == ["Campaign", "C"]

    def test_of_an_upload(self, lab):
        campaign = lab.campaign()
        path = f"/v1/campaigns/{campaign['id']}/submissions"
        headers = {"Idempotency-Key": "u", "Content-Type": "text/csv"}
        content = f"{PAIR_HEADER}\nX,A,1,,,0.5\n"
        first, second = (
            lab.request("POST", path, content=content, headers=headers) for _ in range(2)
        )
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.json() == first.json()
        assert second.json()["outcome"] == "stored"

    def test_of_a_job_asks_for_one_job(self, lab):
        path = f"/v1/campaigns/{lab.campaign()['id']}/recommendations"
        first, second = (post(lab, {}, path=path) for _ in range(2))
        assert (first.status_code, second.status_code) == (202, 202)
        assert second.json() == first.json()
        assert len(lab.every("/v1/jobs")) == 1

    def test_is_what_was_answered_then_even_if_it_changed_since(self, lab):
        first = lab.ok(post(lab))
        compound = first["items"][0]["compound"]
        lab.ok(lab.patch(f"/v1/compounds/{compound['id']}", {"name": "New"}, 1))
        assert lab.ok(post(lab)) == first

    def test_without_a_key_nothing_is_remembered(self, lab):
        lab.ok(lab.post("/v1/compounds", BODY))
        assert answers(lab) == []

    def test_a_dry_run_does_not_stand_for_the_run(self, lab):
        """The query belongs to the request: the same key with another one is another request."""
        path = f"/v1/campaigns/{lab.campaign()['id']}/submissions"
        headers = {"Idempotency-Key": "u", "Content-Type": "text/csv"}
        content = f"{PAIR_HEADER}\nX,A,1,,,0.5\n"
        dry = lab.request("POST", path, content=content, headers=headers, params={"dry_run": True})
        assert dry.status_code == 200
        lab.refused(lab.request("POST", path, content=content, headers=headers), 422)


class TestMisuse:
    def test_another_body(self, lab):
        lab.ok(post(lab))
        with lab.untouched():
            problem = lab.refused(post(lab, OTHER), 422)
        assert codes(problem) == [("key_reused", "header/Idempotency-Key")]
        assert "new key" in problem["detail"]

    def test_another_path(self, lab):
        lab.ok(post(lab))
        with lab.untouched():
            lab.refused(post(lab, {"cell_lines": [{"name": "X"}]}, path="/v1/cell-lines"), 422)

    def test_other_bytes_of_the_same_json_are_another_body(self, lab):
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        one, two = b'{"compounds":[{"name":"A"}]}', b'{"compounds": [{"name": "A"}]}'
        lab.ok(lab.request("POST", "/v1/compounds", content=one, headers=headers))
        lab.refused(lab.request("POST", "/v1/compounds", content=two, headers=headers), 422)

    def test_what_is_no_key(self, lab, subtests):
        for key in ("", "x" * 256, "k\u00e9y", "tab\tkey"):
            with subtests.test(repr(key[:5])), lab.untouched():
                problem = lab.refused(post(lab, key=key.encode()), 422)
                assert codes(problem) == [("idempotency_key", "header/Idempotency-Key")]

    def test_what_is_one(self, lab, subtests):
        for number, key in enumerate(["x", "x" * 255, "a b;c='%\"", "../../etc"]):
            body = {"compounds": [{"name": f"C{number}"}]}
            with subtests.test(key[:10]):
                first, second = post(lab, body, key), post(lab, body, key)
                assert second.headers["idempotency-replayed"] == "true"
                assert second.content == first.content

    def test_it_has_no_meaning_where_nothing_is_posted(self, lab):
        identifier = lab.compounds("A")[0]
        headers = {"Idempotency-Key": "k"}
        for _ in range(2):
            response = lab.get(f"/v1/compounds/{identifier}", headers=headers)
            assert "idempotency-replayed" not in response.headers
        assert answers(lab) == []


class TestFailure:
    def test_leaves_no_key_behind(self, lab):
        with lab.untouched():
            lab.refused(post(lab, {"compounds": [{"name": "A"}, {"name": "a"}]}), 422)
            lab.refused(post(lab, {"compounds": 7}), 422)
            lab.refused(post(lab, {}, path="/v1/campaigns/nothing/models"), 404)
        assert lab.ok(post(lab, BODY))["created"] == 1

    def test_of_the_database_after_the_effect_undoes_both(self, lab, monkeypatch):
        register = CompoundService.register

        def broken(self, items):
            register(self, items)
            raise RuntimeError("the power went out")

        with monkeypatch.context() as patch, lab.untouched():
            patch.setattr(CompoundService, "register", broken)
            assert lab.refused(post(lab), 500)["type"] == "/problems/internal"
        first = post(lab)
        assert (first.status_code, "idempotency-replayed" in first.headers) == (201, False)

    def test_in_its_very_last_step_undoes_the_effect_too(self, lab, monkeypatch):
        from service.kit.idempotency import store

        with monkeypatch.context() as patch, lab.untouched():
            patch.setattr(store, "complete", lambda *_: 1 / 0)
            lab.refused(post(lab), 500)
        assert lab.ok(post(lab))["created"] == 1


class TestAtOnce:
    def test_one_effect_and_one_answer(self, lab):
        responses = at_once(*[lambda: post(lab)] * 5)
        assert {response.status_code for response in responses} == {201}
        assert len({response.content for response in responses}) == 1
        replayed = [r.headers.get("idempotency-replayed") for r in responses]
        assert sorted(replayed, key=str) == [None, *["true"] * 4]
        assert column(lab.every("/v1/compounds"), "name") == ["A"]

    def test_of_two_bodies_one_wins(self, lab):
        responses = at_once(lambda: post(lab), lambda: post(lab, OTHER))
        assert sorted(response.status_code for response in responses) == [201, 422]
        assert len(lab.every("/v1/compounds")) == 1

    def test_when_the_first_one_fails_another_one_runs(self, lab, monkeypatch):
        """Whoever waits for the key must not be told that a failure was the answer."""
        register, calls = CompoundService.register, []

        def once_broken(self, items):
            calls.append(1)
            found = register(self, items)
            if len(calls) == 1:
                raise RuntimeError("the power went out")
            return found

        monkeypatch.setattr(CompoundService, "register", once_broken)
        responses = at_once(*[lambda: post(lab)] * 3)
        assert sorted(response.status_code for response in responses) == [201, 201, 500]
        assert len(lab.every("/v1/compounds")) == 1
        assert len(answers(lab)) == 1


class TestScope:
    def test_another_key_of_the_lab_may_use_the_same_one(self, lab):
        colleague = lab.with_scopes("compounds:write", "read")
        mine, theirs = post(lab), post(colleague, OTHER)
        assert (mine.status_code, theirs.status_code) == (201, 201)
        assert column(lab.every("/v1/compounds"), "name") == ["A", "B"]

    def test_another_lab_never_sees_the_answer(self, lab, other_lab):
        mine = lab.ok(post(lab))["items"][0]["compound"]
        response = post(other_lab)
        theirs = other_lab.ok(response)["items"][0]["compound"]
        assert "idempotency-replayed" not in response.headers
        assert theirs["id"] != mine["id"]

    def test_a_revoked_key_gets_no_replay(self, lab):
        colleague = lab.with_scopes("compounds:write")
        post(colleague)
        key = lab.every("/v1/api-keys")[1]
        lab.ok(lab.delete(f"/v1/api-keys/{key['id']}"))
        lab.refused(post(colleague), 401)


class TestExpiry:
    def test_a_day_later_it_is_a_new_request(self, lab):
        lab.ok(post(lab))
        age(lab, LIFETIME + timedelta(seconds=1))
        assert lab.ok(post(lab, OTHER))["created"] == 1
        assert len(answers(lab)) == 1

    def test_within_the_day_it_is_the_same(self, lab):
        lab.ok(post(lab))
        age(lab, LIFETIME - timedelta(minutes=1))
        assert post(lab).headers["idempotency-replayed"] == "true"

    def test_old_answers_are_forgotten_and_others_kept(self, lab, other_lab):
        post(lab)
        post(other_lab)
        age(lab, LIFETIME + timedelta(seconds=1))
        post(lab, OTHER, key="key-2")
        with lab.parts.database.writing() as session:
            assert forget_old(session) == 2
        assert column([vars(row) for row in answers(lab)], "key") == ["key-2"]
