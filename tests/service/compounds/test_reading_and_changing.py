"""GET and PATCH of /v1/compounds: what is there, and what may change afterwards."""

import pytest

from tests.lab import codes, column

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
ETHANOL = "CCO"


@pytest.fixture
def aspirin(lab):
    body = {"compounds": [{"name": "Aspirin", "smiles": ASPIRIN, "aliases": ["ASA"]}]}
    return lab.ok(lab.post("/v1/compounds", body))["items"][0]["compound"]


@pytest.fixture
def antibody(lab):
    (identifier,) = lab.compounds("Antibody")
    return lab.ok(lab.get(f"/v1/compounds/{identifier}"))


def path(compound):
    return f"/v1/compounds/{compound['id']}"


class TestReading:
    def test_one(self, lab, aspirin):
        response = lab.get(path(aspirin))
        assert response.headers["etag"] == '"1"'
        assert lab.ok(response) == aspirin

    def test_of_another_workspace(self, other_lab, aspirin):
        mine = other_lab.get(path(aspirin))
        never = other_lab.get("/v1/compounds/cmp_00000000000000000000000000")
        other_lab.refused(mine, 404)
        assert mine.json()["title"] == never.json()["title"]
        assert mine.json()["detail"].replace(aspirin["id"], "") == never.json()["detail"].replace(
            "cmp_00000000000000000000000000", ""
        )

    @pytest.mark.parametrize("identifier", ["nothing", "%00", "%F0%9F%92%8A", "x" * 500, "'--"])
    def test_ids_that_lead_nowhere(self, lab, identifier):
        lab.refused(lab.get(f"/v1/compounds/{identifier}"), 404)

    def test_the_list_is_oldest_first_and_only_ones_own(self, lab, other_lab):
        lab.compounds("C", "A", "B")
        other_lab.compounds("D")
        assert column(lab.every("/v1/compounds"), "name") == ["C", "A", "B"]
        assert column(other_lab.every("/v1/compounds"), "name") == ["D"]

    @pytest.mark.parametrize("name", ["aspirin", "ASA", "  Aspirin "])
    def test_by_name(self, lab, aspirin, antibody, name):
        assert lab.every("/v1/compounds", name=name) == [aspirin]

    def test_by_a_name_that_nobody_has(self, lab, other_lab, aspirin):
        assert lab.every("/v1/compounds", name="Aspirine") == []
        assert other_lab.every("/v1/compounds", name="Aspirin") == []

    def test_by_a_name_that_is_none(self, lab):
        problem = lab.refused(lab.get("/v1/compounds", params={"name": "a\u0000"}), 422)
        assert problem["errors"][0]["pointer"] == "query/name"


class TestChanging:
    def test_a_new_name_keeps_the_old_one_as_an_alias(self, lab, aspirin):
        response = lab.patch(path(aspirin), {"name": "Acetylsalicylic acid"}, 1)
        changed = lab.ok(response)
        assert changed["name"] == "Acetylsalicylic acid"
        assert changed["aliases"] == ["Aspirin", "ASA"]
        assert (changed["version"], response.headers["etag"]) == (2, '"2"')
        assert lab.ok(lab.get(path(aspirin))) == changed
        assert lab.every("/v1/compounds", name="aspirin") == [changed]

    def test_more_aliases_are_a_new_version(self, lab, aspirin):
        changed = lab.ok(lab.patch(path(aspirin), {"add_aliases": ["Aspro", "asa"]}, 1))
        assert changed["aliases"] == ["ASA", "Aspro"]
        assert changed["version"] == 2
        lab.refused(lab.patch(path(aspirin), {"add_aliases": ["Disprin"]}, 1), 412)

    def test_a_name_gained_by_registration_is_a_new_version(self, lab, aspirin):
        body = {"compounds": [{"name": "Ecotrin", "smiles": ASPIRIN}]}
        gained = lab.ok(lab.post("/v1/compounds", body))["items"][0]["compound"]
        assert gained["aliases"] == ["ASA", "Ecotrin"]
        assert gained["version"] == 2

    def test_nothing_to_change_changes_nothing(self, lab, aspirin):
        with lab.untouched():
            assert lab.ok(lab.patch(path(aspirin), {}, 1)) == aspirin

    def test_a_structure_given_later(self, lab, antibody):
        changed = lab.ok(lab.patch(path(antibody), {"smiles": f"{ASPIRIN}.[Na]"}, 1))
        assert changed["inchikey"] == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"
        assert [form["is_salt"] for form in changed["substances"]] == [True]
        (event,) = lab.events("compound.changed", subject_id=antibody["id"])
        assert (event["old"]["inchikey"], event["new"]["inchikey"]) == (None, changed["inchikey"])

    def test_a_structure_is_not_exchanged(self, lab, aspirin):
        with lab.untouched():
            problem = lab.refused(lab.patch(path(aspirin), {"smiles": ETHANOL}, 1), 409)
        assert "has a structure already" in problem["detail"]

    def test_a_structure_that_another_compound_has(self, lab, aspirin, antibody):
        with lab.untouched():
            problem = lab.refused(lab.patch(path(antibody), {"smiles": ASPIRIN}, 1), 409)
        assert aspirin["id"] in problem["detail"]

    def test_a_wrong_structure(self, lab, antibody):
        with lab.untouched():
            problem = lab.refused(lab.patch(path(antibody), {"smiles": "C1CC"}, 1), 422)
        assert codes(problem) == [("structure", "/smiles")]

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"name": "antibody"}, "/name"),
            ({"add_aliases": ["new", "Antibody"]}, "/add_aliases/1"),
        ],
    )
    def test_the_name_of_another_compound(self, lab, aspirin, antibody, change, pointer):
        with lab.untouched():
            problem = lab.refused(lab.patch(path(aspirin), change, 1), 422)
        assert codes(problem) == [("name_taken", pointer)]
        assert antibody["id"] in problem["detail"]

    def test_without_a_version(self, lab, aspirin):
        with lab.untouched():
            problem = lab.refused(lab.patch(path(aspirin), {"name": "New"}, None), 428)
        assert 'If-Match: "1"' in problem["detail"]

    def test_with_a_stale_version(self, lab, aspirin):
        lab.ok(lab.patch(path(aspirin), {"name": "New"}, 1))
        with lab.untouched():
            problem = lab.refused(lab.patch(path(aspirin), {"name": "Newer"}, 1), 412)
        assert '"2"' in problem["detail"]
        assert lab.ok(lab.get(path(aspirin)))["name"] == "New"

    def test_of_another_workspace(self, lab, other_lab, aspirin):
        with lab.untouched():
            other_lab.refused(other_lab.patch(path(aspirin), {"name": "Mine"}, 1), 404)
        assert lab.ok(lab.get(path(aspirin))) == aspirin
