"""Whole surfaces over HTTP: learned from all blocks, judged beside Bliss, read by pair and line."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from models.surfaces.fitting import Plan
from tests.service.learning.bench import BLOCKS, DOSES, measure, open_campaign, singles

SMALL = Plan(members=2, betas=(0.2,), steps=3, width=4)


@contextmanager
def short_fits():
    """What the service does with surfaces is tested here, not how good they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.surfaces.making.Plan", lambda: SMALL)
        patch.setattr("models.surfaces.fitting.FEWEST_BLOCKS", 4)
        patch.setattr("models.surfaces.fitting.FEWEST", 5)
        patch.setattr("models.bayes.recalibration.FEWEST", 5)
        patch.setattr("models.surfaces.kriging._STEPS", 3)
        patch.setattr("models.surfaces.gp._STEPS", 2)
        patch.setattr("models.surfaces.shift_folds.FOLDS", 2)
        patch.setattr("models.surfaces.judging.FOLDS", 2)
        yield


def ask(lab, campaign, **body):
    return lab.post(f"/v1/campaigns/{campaign['id']}/surfaces", body)


@pytest.fixture
def campaign(lab):
    """Sixteen of twenty blocks measured."""
    campaign = open_campaign(lab)
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, BLOCKS[:16])
    return campaign


def fitted(lab, campaign):
    """A fit that took seconds."""
    with short_fits():
        return lab.result(ask(lab, campaign, seed=3), "fit")


@pytest.fixture
def fit(lab, campaign):
    return fitted(lab, campaign)


def test_a_fit_its_evidence_and_its_surfaces(lab, campaign, fit):
    """One fit, read in every way: it takes seconds to make."""
    assert (fit["n_blocks"], fit["n_surfaces"], fit["seed"]) == (16, 20, 3)
    evidence = fit["report"]["evidence"]
    assert evidence["served"] == fit["served"]
    assert fit["served"] in evidence["words"]
    assert {"operator", "bliss", "musyc"} <= set(evidence["scores"]["nothing"])
    (event,) = [one for one in lab.every("/v1/events") if one["type"] == "surfaces.ready"]
    assert event["subject_id"] == fit["id"]
    assert [one["id"] for one in lab.every(f"/v1/campaigns/{campaign['id']}/surfaces")] == [
        fit["id"]
    ]
    _reads_blocks(lab, fit)
    _reads_templates(lab, fit)
    (trail,) = lab.events("surface_fit.created")
    assert trail["actor"] == fit["job_id"]


def _reads_blocks(lab, fit):
    path = f"/v1/surface-fits/{fit['id']}/blocks"
    (block,) = lab.ok(lab.get(f"{path}?cell_line=x&compound=b&partner=A"))["items"]
    assert [one["name"] for one in block["compounds"]] == ["A", "B"]
    assert block["doses_um"] == [list(DOSES), list(DOSES)]
    assert block["margins_measured"] == [True, True]
    for i in range(2):
        for j in range(2):
            low, high = block["low_90"][i][j], block["high_90"][i][j]
            assert low < block["low_50"][i][j] < block["high_50"][i][j] < high
            assert low < block["mean"][i][j] < high
            expected = block["margins"][0][i] * block["margins"][1][j]
            assert block["bliss"][i][j] == pytest.approx(expected, abs=2e-4)
            assert abs(block["measured"][i][j] - block["bliss"][i][j]) < 0.2
    assert block["n_wells"] == [[1, 1], [1, 1]]
    assert block["next_wells"] == []
    everything = lab.ok(lab.get(f"{path}?cell_line=X&limit=200"))["items"]
    assert len(everything) == 10
    table = lab.get(f"{path}?cell_line=X&format=csv").text.splitlines()
    assert len(table) == 1 + 40
    assert table[0].startswith("compound_1,dose_1_um,compound_2,dose_2_um,cell_line,bliss,mean")
    etag = lab.get(f"{path}?cell_line=X").headers["etag"]
    again = lab.get(f"{path}?cell_line=X", headers={"If-None-Match": etag})
    assert again.status_code == 304
    assert "no surfaces in 'Z'" in lab.refused(lab.get(f"{path}?cell_line=Z"), 404)["detail"]


def _reads_templates(lab, fit):
    """Of a block that is not measured: D with E."""
    path = f"/v1/surface-fits/{fit['id']}/next-wells?cell_line=Y&compound=E&partner=D"
    matrix = lab.ok(lab.get(f"{path}&block_shape=matrix"))
    assert {(one["row"], one["column"]) for one in matrix["wells"]} == {
        (0, 0), (0, 1), (1, 0), (1, 1),
    }  # fmt: skip
    left = [one["sd_left"] for one in matrix["wells"]]
    assert left == sorted(left, reverse=True)
    diagonal = lab.ok(lab.get(f"{path}&block_shape=diagonal"))["wells"]
    assert {(one["row"], one["column"]) for one in diagonal} == {(0, 0), (1, 1)}
    single = lab.ok(lab.get(f"{path}&block_shape=single"))["wells"]
    assert single == matrix["wells"][:1]
    same = f"/v1/surface-fits/{fit['id']}/next-wells?cell_line=Y&compound=E&partner=e"
    assert "two compounds" in lab.refused(lab.get(same), 422)["detail"]
    unknown = f"/v1/surface-fits/{fit['id']}/next-wells?cell_line=Y&compound=E&partner=Q"
    assert "no surface of 'E' with 'Q'" in lab.refused(lab.get(unknown), 404)["detail"]


def test_too_little_is_refused_before_a_worker_is_asked(lab):
    campaign = open_campaign(lab)
    lab.measure(campaign["id"], *singles())
    measure(lab, campaign, BLOCKS[:3])
    with lab.untouched():
        problem = lab.refused(ask(lab, campaign), 409)
    assert "3 pairs in cell lines are measured, surfaces need 12" in problem["detail"]


def test_a_block_of_two_campaigns_is_counted_once(lab):
    """Ten blocks, measured here and in the campaign that this one learns from, are ten."""
    earlier = open_campaign(lab, name="earlier")
    campaign = open_campaign(lab, name="later", learn_from=[earlier["id"]])
    for one in (earlier, campaign):
        measure(lab, one, BLOCKS[:10])
    problem = lab.refused(ask(lab, campaign), 409)
    assert "10 pairs in cell lines are measured" in problem["detail"]


def test_a_job_that_cannot_learn_says_why(lab, campaign):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.surfaces.fitting.FEWEST_BLOCKS", 99)
        job = lab.run(ask(lab, campaign, seed=1))
    assert (job["status"], job["problem"]["status"]) == ("failed", 409)
    assert "needs 99 measured blocks" in job["problem"]["detail"]
