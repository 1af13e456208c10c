"""POST /v1/campaigns: what may be combined, where, at which doses."""

import pytest

from tests.lab import codes, column


@pytest.fixture
def stock(lab):
    """Compounds A, B, C (also called Cee) and cell lines X, Y."""
    body = {"compounds": [{"name": "A"}, {"name": "B"}, {"name": "C", "aliases": ["Cee"]}]}
    items = lab.ok(lab.post("/v1/compounds", body))["items"]
    compounds = {item["compound"]["name"]: item["compound"]["id"] for item in items}
    return compounds | dict(zip("XY", lab.cell_lines("X", "Y"), strict=True))


def open_campaign(lab, **more):
    body = {"name": "C1", "compounds": ["A", "B", "C"], "cell_lines": ["X", "Y"], "doses_um": [1.0]}
    body |= more
    return lab.post("/v1/campaigns", {name: value for name, value in body.items() if value != ...})


def opened(lab, **more):
    return lab.ok(open_campaign(lab, **more))


def doses(campaign):
    return {row["name"]: row["doses_um"] for row in campaign["compounds"]}


class TestOpening:
    def test_by_name_with_defaults(self, lab, stock):
        response = open_campaign(lab, doses_um=[10.0, 0.1, 1.0])
        campaign = lab.ok(response)
        assert response.status_code == 201
        assert response.headers["location"] == f"/v1/campaigns/{campaign['id']}"
        assert response.headers["etag"] == '"1"'
        assert campaign["status"] == "open"
        assert campaign["n_pairs"] == 3
        assert doses(campaign) == {name: [0.1, 1.0, 10.0] for name in "ABC"}
        assert column(campaign["cell_lines"], "id") == [stock["X"], stock["Y"]]
        assert campaign["objective"] == {
            "score": "bliss_mean",
            "hit_threshold": 10.0,
            "goal": None,
        }
        assert campaign["limits"]["batch_size"] == 96
        assert campaign["limits"]["max_per_compound"] is None
        assert campaign["learning"]["acquisition"] == "hit_probability"
        again = lab.get(f"/v1/campaigns/{campaign['id']}")
        assert (again.json(), again.headers["etag"]) == (campaign, '"1"')

    def test_by_id_alias_and_any_spelling(self, lab, stock):
        campaign = opened(lab, compounds=[stock["A"], " cee ", "b"], cell_lines=["x", stock["Y"]])
        assert column(campaign["compounds"], "name") == ["A", "B", "C"]

    def test_a_range_of_doses_is_even_on_a_logarithmic_scale(self, lab, stock):
        spread = {"min_um": 0.01, "max_um": 10.0, "levels": 4}
        campaign = opened(lab, doses_um=..., dose_range=spread)
        assert doses(campaign)["A"] == [0.01, 0.1, 1.0, 10.0]
        uneven = {"min_um": 1.0, "max_um": 10.0, "levels": 3}
        assert doses(opened(lab, doses_um=..., dose_range=uneven))["A"] == [1.0, 3.162, 10.0]

    def test_own_doses_win_over_the_campaigns(self, lab, stock):
        own = {"compound": "B", "doses_um": [5.0, 0.5, 0.5]}
        campaign = opened(lab, compounds=["A", own], doses_um=[1.0])
        assert doses(campaign) == {"A": [1.0], "B": [0.5, 5.0]}

    def test_own_doses_alone_are_enough(self, lab, stock):
        own = [{"compound": name, "doses_um": [1.0]} for name in "AB"]
        assert doses(opened(lab, compounds=own, doses_um=...)) == {"A": [1.0], "B": [1.0]}

    def test_a_list_of_pairs_in_any_order(self, lab, stock):
        campaign = opened(lab, pairs=[["B", "A"], ["Cee", "A"]])
        assert campaign["n_pairs"] == 2
        (event,) = lab.events("campaign.pairs_added")
        assert (event["subject_id"], event["new"]) == (campaign["id"], {"pairs": 2})

    def test_a_list_without_pairs_allows_none(self, lab, stock):
        assert opened(lab, pairs=[])["n_pairs"] == 0

    def test_everything_else_is_kept_as_it_was_asked(self, lab, stock):
        asked = {
            "objective": {"score": "hsa_max", "hit_threshold": -2.5, "goal": None},
            "limits": {"batch_size": 7, "max_per_compound": 3},
            "learning": {"model": "bnn_gaussian", "acquisition": "ucb", "kappa": 2.5},
            "note": "Autumn\n\tplates",
            "status": "draft",
        }
        campaign = opened(lab, **asked)
        for name in ("objective", "note", "status"):
            assert campaign[name] == asked[name]
        for name in ("limits", "learning"):
            assert {key: campaign[name][key] for key in asked[name]} == asked[name]

    def test_the_trail_names_every_member(self, lab, stock):
        campaign = opened(lab)
        (event,) = lab.events("campaign.created")
        assert (event["subject_id"], event["new"]["status"]) == (campaign["id"], "open")
        assert len(lab.events("campaign_compound.created")) == 3
        assert len(lab.events("campaign_cell_line.created")) == 2


class TestRefusals:
    def test_rules(self, lab, stock, subtests):
        for more, code, pointer, words in [
            ({"compounds": ["A", "Z"]}, "unknown_compound", "/compounds/1", "POST /v1/compounds"),
            ({"compounds": ["A", "Cees"]}, "unknown_compound", "/compounds/1", "'Cee'"),
            ({"compounds": ["A", "a"]}, "repeated", "/compounds/1", "'A'"),
            ({"compounds": ["C", "Cee"]}, "repeated", "/compounds/1", "twice"),
            ({"cell_lines": ["X", "Q"]}, "unknown_cell_line", "/cell_lines/1", "/v1/cell-lines"),
            ({"cell_lines": ["X", "x "]}, "repeated", "/cell_lines/1", "twice"),
            ({"pairs": [["A", "B"], ["B", "A"]]}, "repeated_pair", "/pairs/1", "order"),
            ({"pairs": [["A", "A"]]}, "same_compound", "/pairs/0", "needs two"),
            ({"pairs": [["C", "Cee"]]}, "same_compound", "/pairs/0", "needs two"),
            ({"pairs": [["A", "Z"]]}, "unknown_compound", "/pairs/0/1", "campaign first"),
            ({"doses_um": ...}, "doses", "/compounds/0/doses_um", "dose_range"),
        ]:
            with subtests.test(str(more)), lab.untouched():
                problem = lab.refused(open_campaign(lab, **more), 422)
                assert codes(problem)[0] == (code, pointer)
                assert words in problem["detail"]

    def test_every_unknown_name_is_listed(self, lab, stock):
        with lab.untouched():
            problem = lab.refused(open_campaign(lab, compounds=["Z1", "A", "Z2"]), 422)
        assert column(problem["errors"], "row") == [0, 2]
        assert problem["error_count"] == 2

    def test_a_pair_of_a_compound_outside_the_campaign(self, lab, stock):
        more = {"compounds": ["A", "B"], "pairs": [["A", "C"]]}
        with lab.untouched():
            problem = lab.refused(open_campaign(lab, **more), 422)
        assert codes(problem) == [("unknown_compound", "/pairs/0/1")]

    def test_what_breaks_the_schema(self, lab, stock, subtests):
        for more, pointer in [
            ({"name": " "}, "/name"),
            ({"compounds": ["A"]}, "/compounds"),
            ({"compounds": ["A", 5]}, "/compounds/1"),
            ({"compounds": ["A", ""]}, "/compounds/1/compound"),
            ({"compounds": ["A", {"compound": "B", "dose": 1}]}, "/compounds/1/dose"),
            ({"compounds": ["A", {"compound": "B", "doses_um": []}]}, "/compounds/1/doses_um"),
            ({"cell_lines": []}, "/cell_lines"),
            ({"doses_um": []}, "/doses_um"),
            ({"doses_um": [0]}, "/doses_um/0"),
            ({"doses_um": [1.0, -1.0]}, "/doses_um/1"),
            ({"doses_um": [1e-300]}, "/doses_um/0"),
            ({"doses_um": [1e7]}, "/doses_um/0"),
            ({"doses_um": ["1.0"]}, "/doses_um/0"),
            ({"doses_um": [1.0] * 25}, "/doses_um"),
            ({"dose_range": {"min_um": 1.0, "max_um": 2.0, "levels": 3}}, "/"),
            ({"status": "closed"}, "/status"),
            ({"objective": {"score": "loewe"}}, "/objective/score"),
            ({"limits": {"batch_size": 0}}, "/limits/batch_size"),
            ({"limits": {"batch_size": 2.0}}, "/limits/batch_size"),
            ({"limits": {"max_per_compound": 0}}, "/limits/max_per_compound"),
            ({"learning": {"acquisition": "guess"}}, "/learning/acquisition"),
            ({"learning": {"kappa": -1}}, "/learning/kappa"),
            ({"pairs": [["A"]]}, "/pairs/0"),
            ({"pairs": [["A", "B", "C"]]}, "/pairs/0"),
        ]:
            with subtests.test(str(more)[:60]), lab.untouched():
                problem = lab.refused(open_campaign(lab, **more), 422)
                assert problem["errors"][0]["pointer"] == pointer

    def test_ranges_that_are_none(self, lab, stock, subtests):
        for spread in [
            {"min_um": 1.0, "max_um": 1.0, "levels": 2},
            {"min_um": 2.0, "max_um": 1.0, "levels": 2},
            {"min_um": 1.0, "max_um": 10.0, "levels": 1},
            {"min_um": 1.0, "max_um": 1.001, "levels": 10},
        ]:
            with subtests.test(str(spread)), lab.untouched():
                lab.refused(open_campaign(lab, doses_um=..., dose_range=spread), 422)


class TestOtherWorkspaces:
    def test_their_compounds_and_lines_are_unknown_by_name_and_by_id(self, lab, other_lab, stock):
        other_lab.compounds("Foreign", "Fremd")
        (line,) = other_lab.cell_lines("Elsewhere")
        theirs = other_lab.every("/v1/compounds")[0]["id"]
        for name in ("Foreign", theirs):
            with lab.untouched():
                problem = lab.refused(open_campaign(lab, compounds=["A", name]), 422)
            assert codes(problem) == [("unknown_compound", "/compounds/1")]
            assert "Did you mean" not in problem["detail"]
        for name in ("Elsewhere", line):
            with lab.untouched():
                problem = lab.refused(open_campaign(lab, cell_lines=[name]), 422)
            assert codes(problem) == [("unknown_cell_line", "/cell_lines/0")]

    def test_nearest_names_are_ones_own(self, lab, other_lab, stock):
        other_lab.compounds("Vincristine", "B")
        with lab.untouched():
            problem = lab.refused(open_campaign(lab, compounds=["A", "Vincristin"]), 422)
        assert "Vincristine" not in problem["detail"]

    def test_campaigns_are_ones_own(self, lab, other_lab, stock):
        campaign = opened(lab)
        assert column(lab.every("/v1/campaigns"), "id") == [campaign["id"]]
        assert other_lab.every("/v1/campaigns") == []
        other_lab.refused(other_lab.get(f"/v1/campaigns/{campaign['id']}"), 404)


def test_the_list_is_oldest_first_and_short(lab, stock):
    names = ["Third", "First", "Second"]
    for name in names:
        opened(lab, name=name)
    items = lab.every("/v1/campaigns", limit=2)
    assert column(items, "name") == names
    assert "compounds" not in items[0]
