"""Samples of one block over HTTP: labelled, named, never measurements."""

from __future__ import annotations

import pytest

from models.surfaces.sampler.fitting import Options
from tests.service.learning.bench import BLOCKS, DOSES, block, measure, open_campaign, singles

QUICK = Options(steps=5, rows=32, latent=1, hidden=6)


@pytest.fixture
def campaign(lab):
    """All blocks but the last, of which one well is measured."""
    campaign = open_campaign(lab)
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, BLOCKS[:18])
    pair, line = BLOCKS[18]
    lab.measure(campaign["id"], *block(pair, line)[:1])
    return campaign


def ask(lab, campaign, **body):
    return lab.post(f"/v1/campaigns/{campaign['id']}/surface-samples", body)


@pytest.fixture(autouse=True)
def short_fits(monkeypatch):
    monkeypatch.setattr("models.surfaces.sampler.filling.options_for", lambda n: QUICK)
    monkeypatch.setattr("models.surfaces.sampler.fitting.FEWEST", 12)


def test_missing_wells_are_drawn_and_labelled_and_nothing_is_stored(lab, campaign):
    pair, line = BLOCKS[18]
    wells = len(lab.wells(campaign["id"]))
    job = lab.run(ask(lab, campaign, compounds=list(pair[::-1]), cell_line=line, draws=7, seed=3))
    assert job["status"] == "succeeded", job["problem"]
    found = job["result"]["samples"]
    assert found["synthetic"] is True
    assert found["trusted"] is False
    assert "nobody knows" in found["words"]
    assert [one["name"] for one in found["compounds"]] == list(pair)
    assert found["cell_line"]["name"] == line
    assert (found["n_measured"], found["n_missing"], found["draws"]) == (1, 3, 7)
    assert {tuple(well["doses_um"]) for well in found["wells"]} == {
        (a, b) for a in DOSES for b in DOSES
    }
    assert [well["missing"] for well in found["wells"]] == [False, True, True, True]
    assert all(len(well["replicates"]) == 7 for well in found["wells"])
    assert all(well["low"] < well["high"] for well in found["wells"])
    assert len(lab.wells(campaign["id"])) == wells
    again = lab.run(ask(lab, campaign, compounds=list(pair), cell_line=line, draws=7, seed=3))
    assert again["result"] == job["result"]


def test_what_cannot_be_sampled_is_refused_in_words(lab, campaign):
    (a, b), line = BLOCKS[19]
    job = lab.run(ask(lab, campaign, compounds=[a, b], cell_line=line))
    assert (job["status"], job["problem"]["status"]) == ("failed", 409)
    assert "No well of this pair in this cell line is measured" in job["problem"]["detail"]
    with lab.untouched():
        unknown = lab.refused(ask(lab, campaign, compounds=[a, "Q"], cell_line="Z"), 422)
        same = lab.refused(ask(lab, campaign, compounds=[a, a.lower()], cell_line=line), 422)
    assert [one["pointer"] for one in unknown["errors"]] == ["/compounds/1", "/cell_line"]
    assert "two compounds" in same["detail"]


def test_too_little_is_refused_before_a_worker_is_asked(lab):
    campaign = open_campaign(lab)
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, BLOCKS[:3])
    with lab.untouched():
        problem = lab.refused(ask(lab, campaign, compounds=["A", "B"], cell_line="X"), 409)
    assert "3 pairs in cell lines are measured" in problem["detail"]
