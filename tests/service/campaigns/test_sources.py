"""`learn_from`: which campaigns a campaign may learn from, and how that changes."""

import pytest

from tests.lab import codes, column

NOWHERE = "cam_00000000000000000000000000"


@pytest.fixture
def earlier(lab):
    return lab.campaign(name="Spring")


def path(campaign):
    return f"/v1/campaigns/{campaign['id']}"


def refused(lab, status=422, **more):
    body = {"name": "New", "compounds": ["A", "B"], "cell_lines": ["X"], "doses_um": [1.0], **more}
    with lab.untouched():
        return codes(lab.refused(lab.post("/v1/campaigns", body), status))


def change(lab, campaign, **body):
    return lab.patch(path(campaign), body, campaign["version"])


class TestNaming:
    def test_at_creation_and_by_patch(self, lab, earlier):
        other = lab.campaign(name="Summer")
        campaign = lab.campaign(learn_from=[other["id"], earlier["id"]], repeat_earlier=True)
        assert campaign["learn_from"] == sorted([earlier["id"], other["id"]])
        assert campaign["repeat_earlier"] is True
        less = lab.ok(change(lab, campaign, learn_from=[earlier["id"]], repeat_earlier=False))
        assert (less["learn_from"], less["repeat_earlier"]) == ([earlier["id"]], False)
        assert less["version"] == 2
        same = lab.ok(change(lab, less, note="nothing else"))
        assert same["learn_from"] == [earlier["id"]]
        none = lab.ok(change(lab, same, learn_from=[]))
        assert none["learn_from"] == []
        assert lab.ok(lab.get(path(campaign))) == none

    def test_nothing_unless_asked_for(self, lab, earlier):
        assert (earlier["learn_from"], earlier["repeat_earlier"]) == ([], False)

    def test_it_is_on_the_record(self, lab, earlier):
        campaign = lab.campaign(learn_from=[earlier["id"]])
        lab.ok(change(lab, campaign, learn_from=[]))
        for action in ("created", "deleted"):
            (event,) = lab.events(f"campaign_source.{action}")
            assert campaign["id"] in event["subject_id"]
            assert earlier["id"] in event["subject_id"]

    def test_two_may_learn_from_each_other(self, lab, earlier):
        """Each reads the other's own measurements only, so there is no circle."""
        campaign = lab.campaign(learn_from=[earlier["id"]])
        back = lab.ok(change(lab, earlier, learn_from=[campaign["id"]]))
        assert back["learn_from"] == [campaign["id"]]


class TestRefusing:
    def test_what_makes_no_sense(self, lab, other_lab, earlier):
        theirs = other_lab.campaign()
        assert refused(lab, learn_from=[NOWHERE]) == [("unknown_campaign", "/learn_from/0")]
        foreign = [earlier["id"], theirs["id"]]
        assert refused(lab, learn_from=foreign) == [("unknown_campaign", "/learn_from/1")]
        twice = [earlier["id"], earlier["id"]]
        assert refused(lab, learn_from=twice) == [("repeated", "/learn_from/1")]
        assert refused(lab, learn_from=["Spring"])[0][1] == "/learn_from/0"
        itself = lab.refused(change(lab, earlier, learn_from=[earlier["id"]]), 422)
        assert codes(itself) == [("itself", "/learn_from/0")]

    def test_a_campaign_with_nothing_in_common(self, lab, earlier):
        lab.compounds("P", "Q")
        lab.cell_lines("Z")
        strange = {"compounds": ["P", "Q"], "cell_lines": ["Z"], "learn_from": [earlier["id"]]}
        assert refused(lab, **strange) == [("nothing_shared", "/learn_from/0")]
        line = lab.campaign(compounds=["P", "Q"], cell_lines=["X"], learn_from=[earlier["id"]])
        assert line["learn_from"] == [earlier["id"]]
        one = lab.campaign(compounds=["P", "A"], cell_lines=["Z"], learn_from=[earlier["id"]])
        assert one["learn_from"] == [earlier["id"]]

    def test_a_closed_campaign_learns_nothing_new(self, lab, earlier):
        campaign = lab.campaign()
        closed = lab.ok(change(lab, campaign, status="closed"))
        lab.refused(change(lab, closed, learn_from=[earlier["id"]]), 409)


class TestWhereTheDataLie:
    def test_wells_and_blocks_of_each(self, lab, earlier):
        lab.compounds("P")
        lab.cell_lines("Z")
        wide = lab.campaign(name="Wide", compounds=["A", "B", "P"], cell_lines=["X", "Z"])
        lab.measure(earlier["id"], "X,A,1,B,1,0.5", "X,A,1,B,2,0.5", "Y,A,1,,,0.9")
        lab.measure(wide["id"], "Z,A,1,B,1,0.5", "X,A,1,B,2,0.5", "X,A,1,P,1,0.7")
        campaign = lab.campaign(learn_from=[earlier["id"], wide["id"]])
        lab.measure(campaign["id"], "X,A,1,C,1,0.5")
        items = lab.ok(lab.get(f"{path(campaign)}/data"))["items"]
        assert column(items, "campaign_id") == [campaign["id"], earlier["id"], wide["id"]]
        assert column(items, "own") == [True, False, False]
        assert column(items, "n_wells") == [1, 3, 3]
        assert column(items, "n_blocks") == [1, 1, 3]
        assert column(items, "n_blocks_inside") == [1, 1, 1]

    def test_of_a_campaign_alone_and_of_another_workspace(self, lab, other_lab, earlier):
        (own,) = lab.ok(lab.get(f"{path(earlier)}/data"))["items"]
        assert (own["own"], own["n_wells"], own["name"]) == (True, 0, "Spring")
        other_lab.refused(other_lab.get(f"{path(earlier)}/data"), 404)
