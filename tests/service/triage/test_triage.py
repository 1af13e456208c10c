"""Scorecards over HTTP: after the single agents and a few blocks, before any network."""

import math

import pytest

from tests.lab import codes
from tests.service.learning.bench import (
    BLOCKS,
    block,
    measure,
    open_campaign,
    short_training,
    singles,
)

SOME = (*BLOCKS[:6], *[one for one in BLOCKS[6:] if one[0] == ("B", "D")], BLOCKS[-1])


def ask(lab, campaign, **body):
    return lab.post(f"/v1/campaigns/{campaign['id']}/triage", body)


def make(lab, campaign, seed=3):
    return lab.result(ask(lab, campaign, seed=seed), "card")


@pytest.fixture
def campaign(lab):
    """Nine of twenty blocks, hits among them, no model ever."""
    campaign = open_campaign(lab, objective={"hit_threshold": 0.5}, limits={"batch_size": 5})
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, SOME)
    return campaign


@pytest.fixture
def card(lab, campaign):
    return make(lab, campaign)


class TestMaking:
    def test_a_card_before_any_model(self, lab, campaign, card):
        assert lab.every(f"/v1/campaigns/{campaign['id']}/models") == []
        assert (card["campaign_id"], card["n_blocks"], card["seed"]) == (campaign["id"], 9, 3)
        assert 0 < card["n_hits"] < 9
        assert card["n_scored"] == 11
        assert card["doubling"] == 20
        assert "Not calibrated" in card["report"]["calibration"]["words"]
        (event,) = [one for one in lab.every("/v1/events") if one["type"] == "triage.ready"]
        assert event["subject_id"] == card["id"]

    def test_the_same_blocks_and_seed_make_the_same_card(self, lab, campaign, card):
        again = make(lab, campaign)
        kept = ("sections", "base", "report", "n_scored")
        assert [again[name] for name in kept] == [card[name] for name in kept]
        listed = lab.every(f"/v1/campaigns/{campaign['id']}/triage")
        assert [one["id"] for one in listed] == [card["id"], again["id"]]

    def test_who_asked_and_who_made_it_are_in_the_trail(self, lab, campaign, card):
        (event,) = lab.events("triage_card.created")
        assert event["actor"] == card["job_id"]


class TestReading:
    def test_points_add_up_to_the_chance(self, lab, card):
        found = lab.ok(lab.get(f"/v1/triage-cards/{card['id']}/scores"))
        assert found["n_scored"] == len(found["items"]) == 11
        totals = [item["total"] for item in found["items"]]
        assert totals == sorted(totals, reverse=True)
        for item in found["items"]:
            assert item["total"] == card["base"] + sum(p["points"] for p in item["parts"])
            chance = 1 / (1 + 2 ** (-item["total"] / 20))
            assert item["chance"] == pytest.approx(chance, rel=1e-3)
            assert 0 < item["low"] <= item["high"] < 1
            assert item["reasons"]

    def test_scores_of_some(self, lab, card):
        path = f"/v1/triage-cards/{card['id']}/scores"
        both = lab.ok(lab.get(f"{path}?compound=a&partner=E&cell_line=x"))["items"]
        assert [[c["name"] for c in item["compounds"]] for item in both] in ([["A", "E"]], [])
        named = lab.ok(lab.get(f"{path}?compound=C"))["items"]
        assert named
        assert all("C" in [c["name"] for c in item["compounds"]] for item in named)
        assert len(lab.ok(lab.get(f"{path}?limit=2"))["items"]) == 2
        assert lab.ok(lab.get(f"{path}?compound=Nobody"))["items"] == []

    def test_scores_as_csv(self, lab, card):
        answer = lab.get(f"/v1/triage-cards/{card['id']}/scores?format=csv")
        lines = answer.text.splitlines()
        assert lines[0] == "compound_1,compound_2,cell_line,points,chance,low,high,reasons"
        assert len(lines) == 12

    def test_the_card_as_text(self, lab, card):
        answer = lab.get(f"/v1/triage-cards/{card['id']}?format=text")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "20 points double the odds" in answer.text
        assert "start with" in answer.text

    def test_the_card_as_a_page(self, lab, card):
        answer = lab.get(f"/v1/triage-cards/{card['id']}?format=html")
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "<script" not in answer.text
        assert "http://" not in answer.text
        assert f"<strong>{card['base']:+d}</strong>" in answer.text
        for section in card["sections"]:
            assert section["words"][1:] in answer.text

    def test_it_is_read_once_while_it_stays_the_same(self, lab, card):
        path = f"/v1/triage-cards/{card['id']}"
        etag = lab.get(path).headers["etag"]
        again = lab.request("GET", path, headers={"If-None-Match": etag})
        assert again.status_code == 304


class TestRefusing:
    def test_nothing_was_measured(self, lab):
        campaign = open_campaign(lab)
        with lab.untouched():
            problem = lab.refused(ask(lab, campaign), 409)
        assert "0 pairs in cell lines are measured, a scorecard needs 5" in problem["detail"]

    def test_blocks_without_single_agents(self, lab):
        campaign = open_campaign(lab)
        measure(lab, campaign, BLOCKS[:5])
        job = lab.run(ask(lab, campaign))
        assert (job["status"], job["problem"]["status"]) == ("failed", 409)
        assert "0 measured blocks have a score" in job["problem"]["detail"]
        assert "single agents" in job["problem"]["detail"]

    def test_no_hit_among_them(self, lab):
        campaign = open_campaign(lab, objective={"hit_threshold": 90.0})
        lab.measure(campaign["id"], *singles())
        measure(lab, campaign, BLOCKS[:6])
        job = lab.run(ask(lab, campaign))
        assert job["problem"]["type"] == "/problems/cannot-triage"
        assert "None of 6 measured blocks is a hit" in job["problem"]["detail"]

    def test_a_goal_that_compares_cell_lines(self, lab):
        goal = {"kind": "selectivity", "kill": ["X"], "spare": ["Y"]}
        campaign = open_campaign(lab, objective={"goal": goal})
        lab.measure(campaign["id"], *singles())
        measure(lab, campaign, BLOCKS[:6])
        with lab.untouched():
            problem = lab.refused(ask(lab, campaign), 409)
        assert "goal is selectivity" in problem["detail"]

    def test_a_closed_campaign_and_a_seed_that_is_none(self, lab, campaign):
        problem = lab.refused(ask(lab, campaign, seed=-1), 422)
        assert codes(problem)[0][1] == "/seed"
        lab.ok(lab.patch(f"/v1/campaigns/{campaign['id']}", {"status": "closed"}, 1))
        assert "is closed" in lab.refused(ask(lab, campaign), 409)["detail"]


@pytest.mark.slow
def test_blocks_that_a_model_chose_count_by_how_likely_that_was(lab, campaign):
    """Of a round that took five of eleven: weights are in the report, in words, with the drift."""
    with short_training():
        recommendation = lab.recommend(campaign["id"])
    batch = lab.ok(lab.accept(recommendation))
    for item in batch["items"]:
        names = [one["name"] for one in item["compounds"]]
        lab.measure(campaign["id"], *block(names, item["cell_line"]["name"]))
    report = make(lab, campaign)["report"]
    assert report["n_blocks"] == 9 + len(batch["items"])
    assert report["weights"]["effective_rows"] <= report["n_blocks"]
    assert report["drift"]
    assert all(math.isfinite(one["psi"]) for one in report["drift"])
