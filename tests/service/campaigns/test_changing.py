"""PATCH /v1/campaigns: a campaign lives, grows and, once closed, is history."""

import pytest

from tests.lab import at_once, codes, column

STEPS = {
    "draft": {"open", "closed"},
    "open": {"paused", "closed"},
    "paused": {"open", "closed"},
    "closed": set(),
}
WAYS_TO = {"draft": [], "open": ["open"], "paused": ["open", "paused"], "closed": ["closed"]}


@pytest.fixture
def campaign(lab):
    return lab.campaign()


def path(campaign):
    return f"/v1/campaigns/{campaign['id']}"


def change(lab, campaign, version=1, **body):
    return lab.patch(path(campaign), body, version)


def brought_to(lab, status):
    campaign = lab.campaign(status="draft")
    for step in WAYS_TO[status]:
        campaign = lab.ok(change(lab, campaign, campaign["version"], status=step))
    return campaign


class TestLifecycle:
    @pytest.mark.parametrize("present", STEPS)
    def test_every_step_from(self, lab, present):
        for wanted in STEPS:
            campaign = brought_to(lab, present)
            response = change(lab, campaign, campaign["version"], status=wanted)
            if wanted in STEPS[present] or (wanted == present != "closed"):
                assert lab.ok(response)["status"] == wanted
            else:
                problem = lab.refused(response, 409)
                assert present in problem["detail"]
                assert lab.ok(lab.get(path(campaign))) == campaign

    @pytest.mark.parametrize(
        "body",
        [
            {"name": "New"},
            {"note": "late"},
            {"limits": {"batch_size": 1}},
            {"status": "open"},
            {"add_cell_lines": ["Z"]},
            {},
        ],
    )
    def test_closed_is_closed(self, lab, body):
        campaign = brought_to(lab, "closed")
        lab.cell_lines("Z")
        with lab.untouched():
            problem = lab.refused(change(lab, campaign, campaign["version"], **body), 409)
        assert "is closed" in problem["detail"]
        assert lab.ok(lab.get(path(campaign))) == campaign

    def test_a_step_is_in_the_trail_with_both_its_ends(self, lab, campaign):
        lab.ok(change(lab, campaign, status="paused"))
        (event,) = lab.events("campaign.changed")
        assert (event["old"]["status"], event["new"]["status"]) == ("open", "paused")


class TestChanging:
    def test_settings(self, lab, campaign):
        body = {
            "name": "Renamed",
            "note": "n",
            "objective": {"score": "bliss_max", "hit_threshold": 5.0, "goal": None},
            "limits": {"batch_size": 3, "max_per_compound": 2},
            "learning": {"model": "bnn_gaussian", "acquisition": "thompson", "kappa": 0.0},
        }
        response = change(lab, campaign, **body)
        changed = lab.ok(response)
        for name in ("name", "note", "objective"):
            assert changed[name] == body[name]
        for name in ("limits", "learning"):
            assert {key: changed[name][key] for key in body[name]} == body[name]
        assert (changed["version"], response.headers["etag"]) == (2, '"2"')
        assert changed["updated_at"] > campaign["updated_at"]
        assert lab.ok(lab.get(path(campaign))) == changed

    def test_a_note_can_be_taken_away(self, lab):
        campaign = lab.campaign(note="n")
        assert lab.ok(change(lab, campaign, note=None))["note"] is None

    def test_what_is_not_said_stays(self, lab, campaign):
        changed = lab.ok(change(lab, campaign))
        assert {**changed, "version": 1, "updated_at": campaign["updated_at"]} == campaign

    def test_two_changes_at_one_version(self, lab, campaign):
        lab.ok(change(lab, campaign, name="First"))
        with lab.untouched():
            lab.refused(change(lab, campaign, name="Second"), 412)
        assert lab.ok(lab.get(path(campaign)))["name"] == "First"

    def test_two_changes_at_the_same_moment(self, lab, campaign):
        answers = at_once(*(lambda n=name: change(lab, campaign, name=n) for name in "ABCD"))
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
        (winner,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert lab.ok(lab.get(path(campaign))) == winner

    def test_without_a_version(self, lab, campaign):
        with lab.untouched():
            lab.refused(change(lab, campaign, None, name="New"), 428)

    def test_of_another_workspace(self, lab, other_lab, campaign):
        with lab.untouched():
            other_lab.refused(change(other_lab, campaign, name="Mine"), 404)
        assert lab.ok(lab.get(path(campaign))) == campaign


class TestGrowing:
    def test_more_compounds_lines_and_so_more_pairs(self, lab, campaign):
        lab.compounds("D")
        lab.cell_lines("Z")
        extra = {"compound": "D", "doses_um": [3.0, 0.3]}
        changed = lab.ok(change(lab, campaign, add_compounds=[extra], add_cell_lines=["Z"]))
        assert column(changed["compounds"], "name") == ["A", "B", "C", "D"]
        assert changed["compounds"][3]["doses_um"] == [0.3, 3.0]
        assert column(changed["cell_lines"], "name") == ["X", "Y", "Z"]
        assert (changed["n_pairs"], changed["version"]) == (6, 2)

    def test_more_pairs(self, lab):
        campaign = lab.campaign(pairs=[["A", "B"]])
        assert lab.ok(change(lab, campaign, add_pairs=[["C", "B"]]))["n_pairs"] == 2

    def test_a_pair_of_a_compound_that_is_added_with_it(self, lab):
        campaign = lab.campaign(pairs=[["A", "B"]])
        lab.compounds("D")
        extra = {"compound": "D", "doses_um": [3.0]}
        grown = change(lab, campaign, add_compounds=[extra], add_pairs=[["D", "A"]])
        assert lab.ok(grown)["n_pairs"] == 2

    def test_pairs_where_all_are_allowed(self, lab, campaign):
        with lab.untouched():
            problem = lab.refused(change(lab, campaign, add_pairs=[["A", "B"]]), 409)
        assert "all pairs" in problem["detail"]

    @pytest.mark.parametrize(
        ("body", "code", "pointer"),
        [
            ({"add_pairs": [["B", "A"]]}, "repeated_pair", "/add_pairs/0"),
            ({"add_compounds": [{"compound": "a", "doses_um": [1.0]}]}, "repeated",
             "/add_compounds/0"),
            ({"add_compounds": [{"compound": "Q", "doses_um": [1.0]}]}, "unknown_compound",
             "/add_compounds/0"),
            ({"add_compounds": [{"compound": "D"}]}, "doses", "/add_compounds/0/doses_um"),
            ({"add_cell_lines": ["x"]}, "repeated", "/add_cell_lines/0"),
            ({"add_cell_lines": ["Q"]}, "unknown_cell_line", "/add_cell_lines/0"),
        ],
    )  # fmt: skip
    def test_refusals_change_nothing(self, lab, body, code, pointer):
        campaign = lab.campaign(pairs=[["A", "B"]])
        lab.compounds("D")
        with lab.untouched():
            problem = lab.refused(change(lab, campaign, name="New", **body), 422)
        assert codes(problem) == [(code, pointer)]
        assert lab.ok(lab.get(path(campaign))) == campaign

    def test_members_of_another_workspace(self, lab, other_lab, campaign):
        (theirs,) = other_lab.compounds("Foreign")
        (line,) = other_lab.cell_lines("Elsewhere")
        extra = {"compound": theirs, "doses_um": [1.0]}
        with lab.untouched():
            lab.refused(change(lab, campaign, add_compounds=[extra]), 422)
            lab.refused(change(lab, campaign, add_cell_lines=[line]), 422)
