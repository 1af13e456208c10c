"""Rounds of a campaign that learns from earlier ones: cold start, nothing twice, own finds."""

import pytest

from service.batches.recommending import RecommendJob
from tests.lab import block_of, column
from tests.service.learning.bench import (
    BLOCKS,
    FIRST,
    measure,
    open_campaign,
    singles,
)

LOW = {"objective": {"score": "bliss_mean", "hit_threshold": -50.0}}
"""Every block is a hit."""


def named(blocks):
    return {(*pair, line) for pair, line in blocks}


def ranked(recommendation):
    return {block_of(candidate) for candidate in recommendation["candidates"]}


def mark(lab, campaign, kind, pair, line=None):
    body = {"marks": [{"mark": kind, "compounds": list(pair), "cell_line": line}]}
    lab.ok(lab.post(f"/v1/campaigns/{campaign['id']}/marks", body))


@pytest.fixture
def spring(lab):
    """An earlier campaign with all single agents and six blocks."""
    campaign = open_campaign(lab, name="Spring", **LOW)
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, FIRST)
    return campaign


@pytest.fixture
def campaign(lab, spring):
    return open_campaign(lab, learn_from=[spring["id"]], **LOW)


class TestColdStart:
    def test_the_first_round_has_a_model_and_says_whose_data_it_knows(self, lab, campaign):
        answer = lab.recommend(campaign["id"])
        assert answer["round"] == 1
        assert answer["model_id"] is not None
        assert "None of these blocks is its own" in answer["reason"]
        assert "6 of 'Spring'" in answer["reason"]
        assert answer["step"]["acquisition"] == "hit_probability"
        values = column(answer["candidates"], "mean")
        assert len(set(values)) > 1

    def test_without_it_the_first_round_spreads_out(self, lab, spring):
        answer = lab.recommend(open_campaign(lab)["id"])
        assert answer["model_id"] is None
        assert (answer["n_pool"], answer["earlier"]) == (20, None)

    def test_a_random_round_stays_random(self, lab, campaign):
        answer = lab.recommend(campaign["id"], acquisition="random")
        assert answer["model_id"] is None
        assert "random" in answer["reason"]
        assert ranked(answer) == named(BLOCKS[6:])

    def test_what_is_measured_is_not_proposed_again(self, lab, campaign):
        answer = lab.recommend(campaign["id"])
        assert ranked(answer) == named(BLOCKS[6:])
        assert answer["n_pool"] == 14

    def test_strangers_teach_and_are_never_proposed(self, lab):
        wide = open_campaign(lab, name="Wide")
        lab.measure(wide["id"], *singles())
        measure(lab, wide, [(pair, line) for pair, line in BLOCKS if line == "X"])
        narrow = open_campaign(
            lab, compounds=list("ABCD"), cell_lines=["Y"], learn_from=[wide["id"]]
        )
        answer = lab.recommend(narrow["id"], seed=2)
        pairs = {(a, b) for (a, b), line in BLOCKS if line == "Y" and "E" not in (a, b)}
        assert ranked(answer) == {(*pair, "Y") for pair in pairs}
        assert answer["n_pool"] == 6
        counts = answer["earlier"]["campaigns"][1]
        assert (counts["n_blocks"], counts["n_blocks_inside"]) == (10, 0)
        assert answer["earlier"]["n_hits_only_earlier"] == 0
        assert answer["objective"]["known"] == 0, "the best so far is not that of strangers"
        assert answer["objective"]["best"] is None
        assert answer["outlook"]["found"] == 0
        allowed = open_campaign(
            lab, cell_lines=["Y"], pairs=[["A", "B"], ["D", "E"]], learn_from=[wide["id"]]
        )
        assert ranked(lab.recommend(allowed["id"])) == {("A", "B", "Y"), ("D", "E", "Y")}

    def test_a_goal_that_compares_lines(self, lab, spring):
        goal = {"kind": "selectivity", "kill": ["X"], "spare": ["Y"]}
        objective = {"score": "bliss_mean", "hit_threshold": 10.0, "goal": goal}
        campaign = open_campaign(lab, learn_from=[spring["id"]], objective=objective)
        answer = lab.recommend(campaign["id"])
        assert answer["objective"]["known"] == 6
        assert ranked(answer) == named(BLOCKS[6:])


class TestAgain:
    def test_where_the_campaign_says_so(self, lab, campaign):
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"repeat_earlier": True}, 1))
        answer = lab.recommend(campaign["id"])
        assert ranked(answer) == named(BLOCKS)
        assert answer["n_pool"] == 20
        again = [c["rank"] for c in answer["candidates"] if block_of(c) in named(FIRST)]
        lab.ok(lab.accept(answer, ranks=again[:2]))
        measure(lab, campaign, FIRST)
        assert ranked(lab.recommend(campaign["id"])) == named(BLOCKS[6:]), "own ones never"

    def test_a_pin_asks_for_one(self, lab, campaign):
        pair, line = FIRST[0]
        mark(lab, campaign, "pin", pair, line)
        answer = lab.recommend(campaign["id"])
        assert ranked(answer) == named([*BLOCKS[6:], FIRST[0]])
        first = answer["candidates"][0]
        assert (block_of(first), first["pinned"]) == ((*pair, line), True)
        lab.ok(lab.accept(answer, ranks=[1]))

    def test_measured_elsewhere_since_it_was_recommended(self, lab, spring, campaign):
        answer = lab.recommend(campaign["id"])
        chosen = answer["candidates"][0]
        measure(lab, spring, [(block_of(chosen)[:2], block_of(chosen)[2])])
        problem = lab.refused(lab.accept(answer, ranks=[1]), 409)
        assert "was measured in an earlier campaign" in problem["detail"]
        why = lab.ok(lab.get(f"/v1/recommendations/{answer['id']}/candidates/1/why"))
        assert "in an earlier campaign" in why["unavailable"]
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"repeat_earlier": True}, 1))
        lab.ok(lab.accept(answer, ranks=[1]))

    def test_what_comes_in_for_a_replaced_one(self, lab, spring, campaign):
        answer = lab.recommend(campaign["id"])
        batch = lab.ok(lab.accept(answer, ranks=[1]))
        second = answer["candidates"][1]
        measure(lab, spring, [(block_of(second)[:2], block_of(second)[2])])
        item = f"/v1/batches/{batch['id']}/items/{batch['items'][0]['id']}/replacement"
        lab.ok(lab.post(item, {"reason": "out of stock"}))
        items = lab.ok(lab.get(f"/v1/batches/{batch['id']}"))["items"]
        assert items[-1]["rank"] == 3


class TestOwnFinds:
    def play(self, lab, campaign):
        answer = lab.recommend(campaign["id"])
        batch = lab.ok(lab.accept(answer))
        path = f"/v1/batches/{batch['id']}"
        started = lab.ok(lab.patch(path, {"status": "running"}, batch["version"]))
        blocks = [block_of(item) for item in batch["items"]]
        measure(lab, campaign, [(b[:2], b[2]) for b in blocks[:3]])
        return blocks, lab.ok(lab.patch(path, {"status": "done"}, started["version"]))

    def test_the_curve_the_outlook_and_the_batch_count_its_own(self, lab, spring, campaign):
        path = f"/v1/campaigns/{campaign['id']}/learning-curve"
        lab.recommend(campaign["id"])
        assert "measured itself" in lab.refused(lab.get(path), 409)["detail"]
        blocks, done = self.play(lab, campaign)
        measure(lab, spring, [(blocks[3][:2], blocks[3][2])])
        assert column(done["items"], "status") == ["measured"] * 3 + ["missing"]
        answer = lab.recommend(campaign["id"])
        assert answer["round"] == 2
        curve = lab.ok(lab.get(path))
        (round_one,) = curve["rounds"]
        assert (round_one["number"], round_one["measured"], round_one["found"]) == (1, 3, 3)
        assert curve["earlier"]["n_hits_only_earlier"] == 7
        assert answer["outlook"]["found"] == 3
        own, earlier = answer["earlier"]["campaigns"]
        assert (own["n_hits"], earlier["n_hits"]) == (3, 7)
        assert "3 of these blocks are its own (7 of 'Spring')" in answer["reason"]

    def test_forecasts_are_judged_by_its_own_measurements(self, lab, spring, campaign, monkeypatch):
        """A block that was chosen here and measured there only has told nothing yet."""
        blocks, _ = self.play(lab, campaign)
        measure(lab, spring, [(blocks[3][:2], blocks[3][2])])
        seen, learn = [], RecommendJob._history
        monkeypatch.setattr(
            RecommendJob, "_history", lambda job: seen.append(learn(job)) or seen[-1]
        )
        lab.recommend(campaign["id"])
        assert len(seen[0].hit) == 3
