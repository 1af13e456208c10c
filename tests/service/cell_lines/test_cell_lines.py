"""`/v1/cell-lines`: a name leads to one line; features replace, never merge."""

import pytest

from tests.lab import codes, column


def register(lab, *lines):
    return lab.post("/v1/cell-lines", {"cell_lines": list(lines)})


@pytest.fixture
def a375(lab):
    line = {
        "name": "A375",
        "cellosaurus_id": "CVCL_0132",
        "tissue": "skin",
        "features": {"TP53": 0.4, "EGFR": -1.25},
    }
    return lab.ok(register(lab, line))["items"][0]


def path(line, tail=""):
    return f"/v1/cell-lines/{line['id']}{tail}"


class TestRegistering:
    def test_with_features_and_without(self, lab, a375):
        assert (a375["n_features"], a375["version"]) == (2, 1)
        (plain,) = lab.ok(register(lab, {"name": "HT-29"}))["items"]
        assert (plain["cellosaurus_id"], plain["tissue"], plain["n_features"]) == (None, None, 0)
        assert column(lab.every("/v1/cell-lines"), "name") == ["A375", "HT-29"]

    @pytest.mark.parametrize("name", ["A375", " a375", "Ａ375"])
    def test_a_known_name_is_that_line(self, lab, a375, name):
        done = lab.ok(register(lab, {"name": "New"}, {"name": name}))
        assert (done["created"], done["existing"]) == (1, 1)
        assert done["items"][1] == a375
        assert column(lab.every("/v1/cell-lines"), "name") == ["A375", "New"]

    def test_the_same_request_again_changes_nothing(self, lab, a375):
        line = {"name": "A375", "cellosaurus_id": "CVCL_0132", "tissue": "skin"}
        with lab.untouched():
            (again,) = lab.ok(register(lab, {**line, "features": {"EGFR": -1.25, "TP53": 0.4}}))[
                "items"
            ]
        assert again == a375

    def test_what_a_known_line_lacked_is_added(self, lab):
        lab.ok(register(lab, {"name": "HT-29"}))
        (line,) = lab.ok(
            register(lab, {"name": "ht-29", "tissue": "colon", "features": {"TP53": 0.1}})
        )["items"]
        assert (line["name"], line["tissue"], line["n_features"]) == ("HT-29", "colon", 1)
        assert line["version"] == 2
        features = lab.ok(lab.get(path(line, "/features")))["features"]
        assert features == {"TP53": 0.1}

    @pytest.mark.parametrize(
        ("field", "value"),
        [("cellosaurus_id", "CVCL_0001"), ("tissue", "lung"), ("features", {"TP53": 0.5})],
    )
    def test_what_contradicts_a_known_line(self, lab, a375, field, value):
        with lab.untouched():
            problem = lab.refused(
                register(lab, {"name": "New"}, {"name": "A375", field: value}), 422
            )
        (error,) = problem["errors"]
        assert (error["code"], error["row"], error["column"]) == ("contradiction", 1, field)
        assert error["pointer"] == f"/cell_lines/1/{field}"
        assert a375["id"] in error["message"]
        assert "PATCH" in error["message"]

    def test_the_same_name_twice_in_one_request(self, lab):
        with lab.untouched():
            problem = lab.refused(register(lab, {"name": "X"}, {"name": "Y"}, {"name": "x"}), 422)
        assert "rows 0 and 2" in problem["detail"]

    def test_what_breaks_the_schema(self, lab, subtests):
        for line, pointer in [
            ({"name": "X", "cellosaurus_id": "0132"}, "/cell_lines/0/cellosaurus_id"),
            ({"name": "X", "tissue": ""}, "/cell_lines/0/tissue"),
            ({"name": "X", "features": {"TP53": "high"}}, "/cell_lines/0/features/TP53"),
            ({"name": "X", "features": {"TP53": True}}, "/cell_lines/0/features/TP53"),
            ({"name": "X", "features": {"TP53": 1e13}}, "/cell_lines/0/features/TP53"),
            ({"name": "X", "features": {"a/b~c": None}}, "/cell_lines/0/features/a~1b~0c"),
        ]:
            with subtests.test(pointer), lab.untouched():
                problem = lab.refused(register(lab, line), 422)
                assert problem["errors"][0]["pointer"] == pointer
                assert problem["errors"][0]["row"] == 0

    @pytest.mark.parametrize(
        ("value", "status"), [("NaN", 400), ("-Infinity", 400), ("1e400", 422)]
    )
    def test_numbers_that_are_none(self, lab, value, status):
        body = '{"cell_lines": [{"name": "X", "features": {"TP53": VALUE}}]}'.replace(
            "VALUE", value
        )
        headers = {"Content-Type": "application/json"}
        with lab.untouched():
            response = lab.request("POST", "/v1/cell-lines", content=body.encode(), headers=headers)
            lab.refused(response, status)

    def test_another_lab_may_have_the_same_line(self, lab, other_lab, a375):
        (theirs,) = lab.ok(register(other_lab, {"name": "A375"}))["items"]
        assert theirs["id"] != a375["id"]
        assert column(other_lab.every("/v1/cell-lines"), "id") == [theirs["id"]]
        assert lab.every("/v1/cell-lines") == [a375]


class TestReading:
    def test_one(self, lab, a375):
        response = lab.get(path(a375))
        assert response.headers["etag"] == '"1"'
        assert lab.ok(response) == a375

    @pytest.mark.parametrize("name", ["a375", "A375 "])
    def test_by_name(self, lab, a375, name):
        lab.cell_lines("A3755")
        assert lab.every("/v1/cell-lines", name=name) == [a375]
        assert lab.every("/v1/cell-lines", name="A37") == []

    def test_features(self, lab, a375):
        features = lab.ok(lab.get(path(a375, "/features")))
        assert features["features"] == {"TP53": 0.4, "EGFR": -1.25}
        assert len(features["sha256"]) == 64

    def test_the_hash_of_features_does_not_depend_on_their_order(self, lab):
        one, two, three = lab.ok(
            register(
                lab,
                {"name": "X", "features": {"a": 1.0, "b": 2.0}},
                {"name": "Y", "features": {"b": 2.0, "a": 1.0}},
                {"name": "Z", "features": {"a": 2.0, "b": 1.0}},
            )
        )["items"]
        hashes = [lab.ok(lab.get(path(line, "/features")))["sha256"] for line in (one, two, three)]
        assert hashes[0] == hashes[1] != hashes[2]

    def test_features_that_are_not_there(self, lab):
        (identifier,) = lab.cell_lines("X")
        problem = lab.refused(lab.get(f"/v1/cell-lines/{identifier}/features"), 404)
        assert "PATCH" in problem["detail"]

    @pytest.mark.parametrize("tail", ["", "/features"])
    def test_of_another_workspace(self, other_lab, a375, tail):
        problem = other_lab.refused(other_lab.get(path(a375, tail)), 404)
        assert "A375" not in problem["detail"]


class TestChanging:
    def test_what_is_said_of_a_line(self, lab, a375):
        changed = lab.ok(lab.patch(path(a375), {"tissue": "melanocyte"}, 1))
        assert changed == {**a375, "tissue": "melanocyte", "version": 2}
        cleared = lab.ok(lab.patch(path(a375), {"tissue": None, "cellosaurus_id": None}, 2))
        assert (cleared["tissue"], cleared["cellosaurus_id"]) == (None, None)

    def test_features_are_replaced_as_a_whole(self, lab, a375):
        changed = lab.ok(lab.patch(path(a375), {"features": {"KRAS": 3.0}}, 1))
        assert (changed["n_features"], changed["version"]) == (1, 2)
        assert lab.ok(lab.get(path(a375, "/features")))["features"] == {"KRAS": 3.0}

    def test_features_for_a_line_that_had_none(self, lab):
        (identifier,) = lab.cell_lines("X")
        lab.ok(lab.patch(f"/v1/cell-lines/{identifier}", {"features": {"a": 1.0}}, 1))
        features = lab.ok(lab.get(f"/v1/cell-lines/{identifier}/features"))
        assert features["features"] == {"a": 1.0}

    def test_as_many_other_features_are_a_new_version_too(self, lab, a375):
        """Otherwise the second of two people would silently undo the first one's numbers."""
        first = lab.ok(lab.patch(path(a375), {"features": {"TP53": 9.0, "EGFR": 9.0}}, 1))
        assert first["version"] == 2
        late = lab.patch(path(a375), {"features": {"TP53": 1.0, "EGFR": 1.0}}, 1)
        lab.refused(late, 412)
        assert lab.ok(lab.get(path(a375, "/features")))["features"]["TP53"] == 9.0

    def test_features_leave_their_hash_in_the_trail_and_not_their_values(self, lab, a375):
        before = lab.ok(lab.get(path(a375, "/features")))["sha256"]
        lab.ok(lab.patch(path(a375), {"features": {"TP53": 0.5}}, 1))
        after = lab.ok(lab.get(path(a375, "/features")))["sha256"]
        (event,) = lab.events("cell_line_features.changed")
        assert (event["old"], event["new"]) == ({"sha256": before}, {"sha256": after})

    @pytest.mark.parametrize(("version", "status"), [(None, 428), (7, 412)])
    def test_without_the_present_version(self, lab, a375, version, status):
        with lab.untouched():
            lab.refused(lab.patch(path(a375), {"tissue": "lung"}, version), status)
        assert lab.ok(lab.get(path(a375))) == a375

    def test_a_name_stays(self, lab, a375):
        with lab.untouched():
            problem = lab.refused(lab.patch(path(a375), {"name": "A376"}, 1), 422)
        assert codes(problem) == [("extra_forbidden", "/name")]

    def test_of_another_workspace(self, lab, other_lab, a375):
        with lab.untouched():
            other_lab.refused(other_lab.patch(path(a375), {"features": {"a": 1.0}}, 1), 404)
        assert lab.ok(lab.get(path(a375))) == a375


@pytest.mark.parametrize("key", ["\\ud800", "²", "x" * 5000])
def test_names_of_features_that_no_answer_can_carry(lab, a375, key):
    """A pointer names the key; it must not break the answer, nor be as long as the request."""
    body = '{"features": {"KEY": "no number"}}'.replace("KEY", key)
    headers = {"Content-Type": "application/json", "If-Match": '"1"'}
    with lab.untouched():
        problem = lab.refused(
            lab.request("PATCH", path(a375), content=body.encode(), headers=headers), 422
        )
    assert all(len(error["pointer"]) < 200 for error in problem["errors"])
    assert len(problem["detail"]) < 1000
