"""Limits of a campaign: what the laboratory can do, said with names and kept with ids."""

import itertools

import pytest

from models.acquisition.lab_rules import LabRules
from models.screen import ScreenError
from service.campaigns.schemas import Limits
from tests.lab import codes

PLATES = {
    "plates": 8,
    "blocks_per_plate": 24,
    "compounds_per_plate": 12,
    "lines_per_plate": 1,
    "max_per_cell_line": 50,
    "lines_in_batch": 3,
    "min_compounds": 4,
    "block_shape": "matrix",
    "block_doses": 3,
    "replicates": 2,
    "controls_per_plate": 16,
    "wells_per_plate": 1536,
    "cost_per_block": 1.5,
    "cost_per_plate": 20.0,
    "budget": 1000.0,
}


def change(lab, campaign, version=1, **body):
    return lab.patch(f"/v1/campaigns/{campaign['id']}", body, version)


def the_ids(campaign):
    return {row["name"]: row["id"] for row in campaign["compounds"]}


class TestSaying:
    def test_they_come_back_as_they_were_said(self, lab):
        campaign = lab.campaign(limits={**PLATES, "batch_size": 10})
        assert {name: campaign["limits"][name] for name in PLATES} == PLATES
        assert (campaign["limits"]["batch_size"], campaign["version"]) == (10, 1)
        assert campaign["limits"]["single_agents"] == "elsewhere"

    def test_compounds_by_name_come_back_by_id(self, lab):
        limits = {"never_together": [["b", "A"]], "stock": {"C": 3, "a": 0}}
        campaign = lab.campaign(limits=limits)
        ids = the_ids(campaign)
        assert campaign["limits"]["never_together"] == [sorted([ids["A"], ids["B"]])]
        assert campaign["limits"]["stock"] == {ids["C"]: 3, ids["A"]: 0}
        again = lab.ok(change(lab, campaign, limits=campaign["limits"]))
        assert again["limits"] == campaign["limits"]
        listed = lab.every("/v1/campaigns")
        assert listed[0]["limits"] == campaign["limits"]

    def test_a_change_replaces_all_of_them_in_one_version(self, lab):
        campaign = lab.campaign(limits=PLATES)
        limits = {"batch_size": 5, "stock": {"A": 1}}
        changed = lab.ok(change(lab, campaign, limits=limits))
        assert changed["version"] == 2
        assert changed["limits"]["plates"] is None
        assert changed["limits"]["stock"] == {the_ids(campaign)["A"]: 1}
        (event,) = lab.events("campaign.changed")
        assert event["old"]["lab"]["plates"] == 8
        assert event["new"]["lab"] == {"stock": changed["limits"]["stock"]}

    def test_of_a_compound_that_joins_in_the_same_change(self, lab):
        campaign = lab.campaign()
        (new,) = lab.compounds("D")
        extra = [{"compound": "D", "doses_um": [1.0]}]
        limits = {"never_together": [["A", "D"]]}
        changed = lab.ok(change(lab, campaign, limits=limits, add_compounds=extra))
        assert new in changed["limits"]["never_together"][0]

    def test_how_the_next_batch_is_found(self, lab):
        learning = {"acquisition": "auto", "xi": 2.0, "top_k": 20, "rounds_planned": 6}
        campaign = lab.campaign(learning=learning)
        assert {name: campaign["learning"][name] for name in learning} == learning
        back = lab.ok(change(lab, campaign, learning={}))["learning"]
        assert (back["acquisition"], back["xi"]) == ("hit_probability", 0.0)
        assert back["top_k"] is back["rounds_planned"] is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("limits", "code", "pointer"),
        [
            ({"never_together": [["A", "B"], ["A", "Z"]]}, "unknown_compound",
             "/limits/never_together/1/1"),
            ({"never_together": [["A", "a"]]}, "same_compound", "/limits/never_together/0/1"),
            ({"stock": {"Z/9": 1}}, "unknown_compound", "/limits/stock/Z~19"),
            ({"stock": {"A": 1, "a": 2}}, "repeated", "/limits/stock/a"),
        ],
    )  # fmt: skip
    def test_names_that_lead_nowhere(self, lab, limits, code, pointer):
        campaign = lab.campaign()
        with lab.untouched():
            problem = lab.refused(change(lab, campaign, name="New", limits=limits), 422)
        assert codes(problem) == [(code, pointer)]
        assert lab.ok(lab.get(f"/v1/campaigns/{campaign['id']}")) == campaign

    def test_a_compound_outside_the_campaign(self, lab):
        lab.compounds("A", "B", "C", "Other")
        lab.cell_lines("X", "Y")
        body = {"name": "n", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0]}
        with lab.untouched():
            asked = {**body, "limits": {"stock": {"Other": 1}}}
            problem = lab.refused(lab.post("/v1/campaigns", asked), 422)
        assert "campaign first" in problem["detail"]

    def test_numbers_that_cannot_be(self, lab, subtests):
        campaign = lab.campaign()
        for limits, pointer, words in [
            ({"plates": 0}, "/limits/plates", "1"),
            ({"compounds_per_plate": 1}, "/limits/compounds_per_plate", "2"),
            ({"budget": -1.0}, "/limits/budget", "0"),
            ({"stock": {"A": -1}}, "/limits/stock/A", "0"),
            ({"never_together": [["A"]]}, "/limits/never_together/0", "2"),
            ({"block_shape": "cross"}, "/limits/block_shape", "single"),
            ({"block_doses": 3}, "/limits", "matrix or a diagonal"),
            ({"block_shape": "informed", "block_doses": 3}, "/limits", "how many wells"),
            ({"block_wells": 3}, "/limits", "how many wells"),
            (
                {"block_shape": "informed", "block_doses": 2, "block_wells": 5},
                "/limits",
                "has no 5 wells",
            ),
            ({"block_wells": 33}, "/limits/block_wells", "32"),
            ({"single_agents": "per_plate"}, "/limits", "compounds_per_plate"),
            ({"wells_per_plate": 96, "controls_per_plate": 96}, "/limits", "needs 1 more"),
            ({"lines_per_plate": 1}, "/limits", "blocks_per_plate"),
            ({"plates": 5000, "blocks_per_plate": 24}, "/limits", "10000"),
        ]:
            with subtests.test(str(limits)), lab.untouched():
                problem = lab.refused(change(lab, campaign, limits=limits), 422)
                assert problem["errors"][0]["pointer"] == pointer
                assert words in problem["errors"][0]["message"]


def test_what_the_door_lets_in_the_solver_takes():
    """The API process has no models: its rules about wells are its own, and must be the same."""
    shapes = [
        *[("single", 1, None), ("single", 2, None), ("matrix", 3, None), ("diagonal", 4, None)],
        *[("informed", 3, 5), ("informed", 3, None), ("informed", 3, 10), ("matrix", 3, 5)],
    ]
    options = itertools.product(
        shapes, ("elsewhere", "per_plate", "per_block"), (None, 2, 12), (None, 1), (None, 20, 96)
    )
    let_in = 0
    for (shape, doses, block_wells), single_agents, compounds, lines, wells in options:
        asked = {
            "block_shape": shape,
            "block_wells": block_wells,
            "replicates": 2,
            "single_agents": single_agents,
            "compounds_per_plate": compounds,
            "lines_per_plate": lines,
            "wells_per_plate": wells,
            "controls_per_plate": 4,
        }
        try:
            limits = Limits(**asked, block_doses=doses)
        except ValueError:
            limits = None
        try:
            rules = LabRules(**asked, doses=doses, batch_size=96)
            rules.limits()
        except ScreenError:
            rules = None
        assert (limits is None) == (rules is None), asked
        if limits is not None and rules is not None:
            let_in += 1
            assert limits.capacity() == rules.plate_capacity
            assert limits.wells_per_block() == rules.wells_per_block
    assert let_in > 20
