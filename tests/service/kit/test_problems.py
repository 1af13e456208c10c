"""Errors as people and machines meet them: one shape, a place, a fix, and nothing of the input."""

import json

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError

from service.compounds.service import CompoundService
from service.kit.problems import pointer_to, row_of
from tests.lab import PAIR_HEADER

SECRET = "TOPSECRET-CC(C)Oc1"
FIELDS = {"type", "title", "status", "detail", "instance", "errors", "error_count"}


def break_with(monkeypatch, error):
    def broken(self, items):
        raise error

    monkeypatch.setattr(CompoundService, "register", broken)


def send(lab, path, body, method="POST", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", "If-Match": "*", **headers}
    return lab.request(method, path, content=content, headers=given)


class TestShape:
    def test_of_every_kind(self, lab, monkeypatch):
        (identifier,) = lab.compounds("A")
        one = f"/v1/compounds/{identifier}"
        kinds = {
            400: send(lab, "/v1/compounds", b"{"),
            401: lab.http.get("/v1/compounds"),
            403: lab.with_scopes("read").post("/v1/compounds", {}),
            404: lab.get("/v1/compounds/nothing"),
            405: lab.request("PUT", "/v1/compounds"),
            409: lab.delete(f"/v1/api-keys/{lab.every('/v1/api-keys')[0]['id']}"),
            412: lab.patch(one, {"name": "B"}, 7),
            415: send(lab, "/v1/compounds", {}, **{"Content-Type": "text/html"}),
            422: lab.post("/v1/compounds", {}),
            428: lab.patch(one, {"name": "B"}, None),
        }
        types = set()
        for status, response in kinds.items():
            problem = lab.refused(response, status)
            assert set(problem) == FIELDS
            assert problem["title"]
            assert problem["detail"]
            assert problem["type"].startswith("/problems/")
            types.add(problem["type"])
        assert len(types) == len(kinds)

    def test_paths_that_lead_nowhere(self, lab):
        for path in ("/v2/compounds", "/v1/compound", "/v1/compounds/", "/v1//compounds"):
            assert lab.refused(lab.get(path), 404)["type"] == "/problems/not-found"

    def test_405_names_what_is_allowed(self, lab):
        for path, allowed in [
            ("/v1/compounds", {"GET", "POST"}),
            ("/v1/campaigns/cam_1", {"GET", "PATCH"}),
            ("/v1/workspace", {"GET"}),
            ("/v1/api-keys/key_1", {"DELETE"}),
        ]:
            response = lab.request("PUT", path)
            lab.refused(response, 405)
            assert {word.strip() for word in response.headers["allow"].split(",")} == allowed

    def test_401_says_how_and_503_says_when(self, lab, monkeypatch):
        assert lab.http.get("/v1/compounds").headers["www-authenticate"].startswith("Bearer")
        break_with(monkeypatch, OperationalError("SELECT", {}, Exception("gone")))
        response = lab.post("/v1/compounds", {"compounds": [{"name": "A"}]})
        assert lab.refused(response, 503)["type"] == "/problems/unavailable"
        assert int(response.headers["retry-after"]) > 0


class TestErrorsBelow:
    """What the layers underneath raise is answered, without what they say about the data."""

    @pytest.mark.parametrize(
        ("error", "status", "kind"),
        [
            (IntegrityError(f"INSERT {SECRET}", {"x": SECRET}, Exception(SECRET)), 409, "conflict"),
            (OperationalError(f"INSERT {SECRET}", {}, Exception(SECRET)), 503, "unavailable"),
            (StaleDataError(SECRET), 412, "stale"),
            (RuntimeError(SECRET), 500, "internal"),
            (KeyError(SECRET), 500, "internal"),
        ],
    )
    def test_answers(self, lab, monkeypatch, error, status, kind):
        break_with(monkeypatch, error)
        with lab.untouched():
            response = lab.post("/v1/compounds", {"compounds": [{"name": SECRET}]})
        assert lab.refused(response, status)["type"] == f"/problems/{kind}"
        assert SECRET not in response.text

    def test_a_statement_that_fails_does_not_tell_its_values(self, lab):
        """Not even to the operator's log."""
        from sqlalchemy import text

        with pytest.raises(Exception) as caught, lab.parts.database.reading() as session:
            session.execute(text("SELECT :x FROM nowhere"), {"x": SECRET})
        assert "nowhere" in str(caught.value)
        assert SECRET not in str(caught.value)


class TestNoEcho:
    def test_of_values_in_json(self, lab, subtests):
        campaign = lab.campaign()
        one = f"/v1/campaigns/{campaign['id']}"
        compound = f"/v1/compounds/{campaign['compounds'][0]['id']}"
        long = SECRET + "x" * 200
        for path, body, method in [
            ("/v1/compounds", {"compounds": SECRET}, "POST"),
            ("/v1/compounds", {"compounds": [{"name": long}]}, "POST"),
            ("/v1/compounds", {"compounds": [{"name": "A", "smiles": [SECRET]}]}, "POST"),
            ("/v1/compounds", {"compounds": [{"name": f"{SECRET}\u0000"}]}, "POST"),
            ("/v1/compounds", b'{"compounds": "%s' % SECRET.encode(), "POST"),
            ("/v1/compounds", b'{"compounds": %s}' % SECRET.encode(), "POST"),
            (compound, {"name": {"x": SECRET}}, "PATCH"),
            ("/v1/cell-lines", {"cell_lines": [{"name": "X", "cellosaurus_id": SECRET}]}, "POST"),
            ("/v1/cell-lines", {"cell_lines": [{"name": "X", "features": {"a": SECRET}}]}, "POST"),
            ("/v1/campaigns", {"name": "C", "compounds": [[SECRET]], "cell_lines": [1]}, "POST"),
            (one, {"status": SECRET}, "PATCH"),
            (one, {"objective": {"score": SECRET}}, "PATCH"),
            (f"{one}/marks", {"marks": [{"mark": SECRET, "compounds": ["A", "B"]}]}, "POST"),
            (f"{one}/models", {"seed": SECRET}, "POST"),
            (f"{one}/batches", {"recommendation_id": SECRET}, "POST"),
            (f"{one}/predictions", {"items": [], "model_id": SECRET}, "POST"),
            ("/v1/api-keys", {"name": "K", "scopes": [SECRET]}, "POST"),
            ("/v1/api-keys", {"name": "K", "scopes": ["read"], "expires_at": SECRET}, "POST"),
        ]:
            with subtests.test(f"{method} {path} {str(body)[:60]}"), lab.untouched():
                response = send(lab, path, body, method)
                assert response.status_code in (400, 422), response.text
                assert SECRET not in response.text

    def test_of_values_in_queries_and_headers(self, lab):
        campaign = lab.campaign()
        for path, params in [
            ("/v1/compounds", {"limit": SECRET}),
            ("/v1/compounds", {"cursor": SECRET}),
            ("/v1/audit-events", {"subject_id": SECRET}),
            (f"/v1/campaigns/{campaign['id']}/measurements", {"versions": SECRET}),
        ]:
            response = lab.get(path, params=params)
            lab.refused(response, 422)
            assert SECRET not in response.text

    def test_of_labels_in_a_table(self, lab):
        """Names that lead nowhere are told, so that they can be mended; other cells are not."""
        campaign = lab.campaign()
        table = f"{PAIR_HEADER},plate,operator\nX,A,1,,,0.5,{SECRET * 20},{SECRET}\n"
        response = lab.submit(campaign["id"], table)
        lab.refused(response, 422)
        assert SECRET not in response.text


class TestPointers:
    @pytest.mark.parametrize(
        ("path", "pointer"),
        [
            ([], "/"),
            (["a", 0, "b"], "/a/0/b"),
            (["a/b", "c~d"], "/a~1b/c~0d"),
            (["\ud800"], "/?"),
            (["x" * 500], "/" + "x" * 100),
        ],
    )
    def test_steps_are_escaped_cut_and_fit_for_json(self, path, pointer):
        assert pointer_to(path) == pointer
        json.dumps(pointer_to(path)).encode()

    @pytest.mark.parametrize(
        ("path", "row"), [([], None), (["a"], None), (["a", 3, "b", 5], 3), (["7", "²"], None)]
    )
    def test_a_row_is_the_index_in_the_first_list(self, path, row):
        assert row_of(path) == row


class TestRequestNames:
    def test_the_callers_own(self, lab):
        for name in ("12345678", "trace-id_1.2", "a" * 64):
            response = lab.get("/v1/compounds/nothing", headers={"X-Request-ID": name})
            assert response.headers["x-request-id"] == response.json()["instance"] == name

    def test_ones_made_here_where_that_is_none(self, lab):
        for name in ("", "short", "a" * 65, "has space1", "new\u00e9line!", "<script>1"):
            response = lab.get("/v1/workspace", headers={"X-Request-ID": name.encode("latin-1")})
            assert response.headers["x-request-id"].startswith("req_")

    def test_every_request_has_another(self, lab):
        names = {lab.get("/v1/workspace").headers["x-request-id"] for _ in range(5)}
        assert len(names) == 5

    def test_also_without_a_key(self, http):
        for path in ("/livez", "/nowhere", "/v1/workspace", "/openapi.json"):
            assert http.get(path).headers["x-request-id"].startswith("req_")
