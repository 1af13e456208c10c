"""Models of a campaign that learns from earlier ones: what they see, and what that changes."""

import numpy as np
import pytest

from service.kit.auth.principal import Principal
from service.kit.unit import Unit
from service.learning.past_rounds import past_campaign
from service.learning.snapshots import load_snapshot, read_snapshot, store_snapshot
from tests.lab import column
from tests.service.learning.bench import BLOCKS, FIRST, block, measure, open_campaign, singles


def snapshot_of(lab, campaign):
    with lab.parts.database.reading() as session:
        unit = Unit(session, Principal.of_job(lab.workspace_id, "job_test"), lab.parts)
        return read_snapshot(unit, campaign["id"])


def stored(lab, campaign):
    return store_snapshot(snapshot_of(lab, campaign), lab.parts.artifacts)


@pytest.fixture
def spring(lab):
    """An earlier campaign with all single agents and six blocks."""
    campaign = open_campaign(lab, name="Spring")
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, FIRST)
    return campaign


class TestSnapshots:
    def test_without_measurements_elsewhere_nothing_changes(self, lab, spring):
        """Down to the name of the snapshot, which is its hash."""
        empty = open_campaign(lab, name="Empty")
        alone, linked = open_campaign(lab), open_campaign(lab, learn_from=[empty["id"]])
        for campaign in (alone, linked):
            lab.measure(campaign["id"], *singles())
            measure(lab, campaign, FIRST)
        assert stored(lab, alone) == stored(lab, linked)
        one, two = (lab.recommend(c["id"], seed=3) for c in (alone, linked))
        assert one["candidates"] == two["candidates"]
        assert one["reason"] == two["reason"]
        assert two["earlier"] is None

    def test_one_campaign_or_two_are_one_screen(self, lab, spring):
        """The same wells in the same order, so the same model, to the bit."""
        split = open_campaign(lab, learn_from=[spring["id"]])
        measure(lab, split, BLOCKS[6:9])
        whole = open_campaign(lab)
        lab.measure(whole["id"], *singles())
        measure(lab, whole, FIRST)
        measure(lab, whole, BLOCKS[6:9])
        one, two = snapshot_of(lab, whole), snapshot_of(lab, split)
        assert one.screen.compounds.ids == two.screen.compounds.ids
        for name in ("cell_line", "compounds", "doses_um", "viability"):
            ours, theirs = (getattr(s.screen.wells, name) for s in (one, two))
            assert np.array_equal(ours, theirs)
        forecasts = [forecast(lab, campaign) for campaign in (whole, split)]
        assert forecasts[0] == forecasts[1]

    def test_it_comes_back_as_it_was_stored(self, lab, spring):
        campaign = open_campaign(lab, learn_from=[spring["id"]])
        measure(lab, campaign, BLOCKS[6:8])
        snapshot = snapshot_of(lab, campaign)
        back = load_snapshot(stored(lab, campaign), lab.parts.artifacts)
        assert back.origin.campaigns == (campaign["id"], spring["id"])
        assert np.array_equal(back.origin.well, snapshot.origin.well)
        assert back.names[spring["id"]] == "Spring"
        assert (snapshot.origin.well == 0).sum() == 8

    def test_a_new_well_there_is_a_new_snapshot_here(self, lab, spring):
        campaign = open_campaign(lab, learn_from=[spring["id"]])
        names = [stored(lab, campaign)]
        lab.measure(spring["id"], "X,A,0.5,,,0.8")
        names.append(stored(lab, campaign))
        gone = {"withdrawn": True, "reason": "dirt"}
        well = lab.wells(spring["id"])[0]["id"]
        lab.ok(lab.post(f"/v1/measurements/{well}/corrections", gone))
        names.append(stored(lab, campaign))
        lab.ok(lab.patch(f"/v1/campaigns/{spring['id']}", {"status": "closed"}, 1))
        names.append(stored(lab, campaign))
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"learn_from": []}, 1))
        names.append(stored(lab, campaign))
        assert len(set(names)) == 4
        assert names[2] == names[3], "a closed campaign still teaches"

    def test_not_what_they_learn_from_in_turn(self, lab, spring):
        middle = open_campaign(lab, name="Middle", learn_from=[spring["id"]])
        measure(lab, middle, BLOCKS[6:7])
        last = open_campaign(lab, learn_from=[middle["id"]])
        assert len(snapshot_of(lab, last).screen.wells) == 4

    def test_strangers_teach_and_take_no_features_away(self, lab):
        lab.compounds("A", "B", "P")
        lines = [{"name": "X", "features": {"TP53": 1.0, "EGFR": 2.0}},
                 {"name": "Z", "features": {"TP53": 3.0}}]  # fmt: skip
        lab.ok(lab.post("/v1/cell-lines", {"cell_lines": lines}))
        wide = lab.campaign(compounds=["A", "B", "P"], cell_lines=["X", "Z"])
        lab.measure(wide["id"], "Z,A,1,B,1,0.5", "X,A,1,P,1,0.7")
        narrow = lab.campaign(compounds=["A", "B"], cell_lines=["X"], learn_from=[wide["id"]])
        snapshot = snapshot_of(lab, narrow)
        assert [snapshot.names[i] for i in snapshot.screen.compounds.ids] == ["A", "B", "P"]
        assert {snapshot.names[i] for i in snapshot.origin.strangers} == {"P", "Z"}
        assert snapshot.feature_names == ("EGFR", "TP53")
        assert snapshot.screen.cell_lines.has_features.tolist() == [True, False]
        assert set(snapshot.doses_um) == {row["id"] for row in narrow["compounds"]}


def forecast(lab, campaign):
    lab.train(campaign["id"], seed=7)
    items = [{"cell_line": line, "doses": [{"compound": c} for c in pair]} for pair, line in BLOCKS]
    asked = lab.post(f"/v1/campaigns/{campaign['id']}/predictions", {"items": items})
    return [(row["mean"], row["sd"]) for row in lab.result(asked, "prediction")["items"]]


class TestModels:
    def test_say_what_came_from_where(self, lab, spring):
        campaign = open_campaign(lab, learn_from=[spring["id"]])
        measure(lab, campaign, BLOCKS[6:8])
        model = lab.train(campaign["id"])
        assert (model["n_blocks"], model["n_wells"]) == (8, 50 + 32)
        own, earlier = model["earlier"]["campaigns"]
        assert (own["own"], own["n_wells"], own["n_blocks"]) == (True, 8, 2)
        assert (earlier["name"], earlier["n_wells"], earlier["n_blocks"]) == ("Spring", 74, 6)
        assert model["earlier"]["n_blocks_only_earlier"] == 6
        assert "too few" in model["evidence"]["judged_on"]
        blocks = lab.ok(lab.get(f"/v1/models/{model['id']}/blocks"))["items"]
        mine = [row for row in blocks if row["own"]]
        assert len(mine) == 2
        assert {tuple(row["earlier"]) for row in mine} == {()}
        assert {tuple(row["earlier"]) for row in blocks if not row["own"]} == {(spring["id"],)}
        found = sum(bool(row["is_hit"]) for row in blocks if not row["own"])
        assert model["earlier"]["n_hits_only_earlier"] == found

    def test_a_model_of_its_own_says_nothing_of_others(self, lab, spring):
        model = lab.train(spring["id"])
        assert model["earlier"] is None
        blocks = lab.ok(lab.get(f"/v1/models/{model['id']}/blocks"))["items"]
        assert {(row["own"], tuple(row["earlier"])) for row in blocks} == {(True, ())}

    def test_disagreement_is_a_warning_with_numbers(self, lab, spring):
        """The same single agents, 0.3 higher: other plates, other cells or other doses."""
        campaign = open_campaign(lab, learn_from=[spring["id"]])
        shifted = [row.rsplit(",", 1) for row in singles()]
        wells = [f"{head},{float(value) + 0.3:.6f}" for head, value in shifted]
        lab.measure(campaign["id"], *wells)
        measure(lab, campaign, BLOCKS[6:8])
        recommendation = lab.recommend(campaign["id"])
        (found,) = recommendation["earlier"]["agreement"]
        assert found["treatments"] == 50
        assert found["shift"] == pytest.approx(-0.3, abs=1e-3)
        assert found["disagrees"] is True
        (warning,) = recommendation["earlier"]["warnings"]
        assert "'Spring' disagrees with this campaign" in warning
        assert warning in recommendation["reason"]

    def test_the_same_wells_again_agree(self, lab, spring):
        campaign = open_campaign(lab, learn_from=[spring["id"]])
        lab.measure(campaign["id"], *singles())
        measure(lab, campaign, BLOCKS[6:8])
        (found,) = lab.train(campaign["id"])["earlier"]["agreement"]
        assert (found["treatments"], found["shift"], found["disagrees"]) == (50, 0.0, False)


def test_a_replay_is_of_the_campaigns_own_blocks(lab, spring):
    """What earlier campaigns measured is known from the start and none that could be found."""
    campaign = open_campaign(lab, learn_from=[spring["id"]])
    measure(lab, campaign, [FIRST[0], *BLOCKS[6:9]])
    past = past_campaign(snapshot_of(lab, campaign), "bliss_mean")
    assert len(past.candidates) == 3
    nothing, everything = past.reveal(np.array([], np.int64)), past.reveal(np.arange(3))
    assert len(nothing.wells) == 50 + 24, "the earlier ones, without our repeat of a block"
    assert len(everything.wells) - len(nothing.wells) == 12


def test_two_earlier_campaigns(lab, spring):
    autumn = open_campaign(lab, name="Autumn")
    lab.measure(autumn["id"], *singles())
    measure(lab, autumn, BLOCKS[5:8])
    campaign = open_campaign(lab, learn_from=[spring["id"], autumn["id"]])
    model = lab.train(campaign["id"])
    assert column(model["earlier"]["campaigns"], "n_blocks") == [0, 6, 3]
    assert model["n_blocks"] == 8
    assert [one["with_own"] for one in model["earlier"]["agreement"]] == [False, False]
    assert [one["treatments"] for one in model["earlier"]["agreement"]] == [54, 54]
    assert len(block(*BLOCKS[5])) == 4
