"""Evidence of a fit: what it must say, that it never saw what it is judged on, row order."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.screen import Stopped
from models.synergy.evidence import measure_evidence, split_rows
from models.synergy.inputs import ScoredBlocks, Training
from tests.models.synergy.ridge import Ridge
from tests.models.synergy.small_screens import linear_training


def test_the_report_says_everything_and_json_can_hold_it() -> None:
    found = measure_evidence(Ridge(), linear_training(), seed=3)
    report = found.report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["n_train"], report["n_held_out"]) == (144, 36)
    assert set(report["baselines"]) == {"mean", "additive"}
    for scores in (report["model"], *report["baselines"].values()):
        assert set(scores["coverage"]) == {"50", "80", "90", "95"}
        assert set(scores["coverage_by_observed"]) == {"low", "middle", "high"}
        assert set(scores["coverage_by_predicted"]) == {"low", "middle", "high"}
        assert set(scores["top"]) == {"share", "recall", "enrichment"}
    assert report["convergence"] == {"kind": "exact", "rows": 144}
    assert 0.9 < report["noise_ceiling"]["pearson"] < 1.0
    assert report["recalibration"]["applied"] is False
    assert report["hit_forecast"] is None
    assert found.log_density.mean() == pytest.approx(report["model"]["elpd"], abs=1e-5)


def test_a_model_that_is_right_is_found_to_be_right() -> None:
    """The truth is linear with known noise: density of N(0, s) noise is -log(s sqrt(2 pi e))."""
    report = measure_evidence(Ridge(), linear_training(), seed=1).report
    best = -0.5 * np.log(2 * np.pi * np.e * 4.0)
    assert report["model"]["elpd"] == pytest.approx(best, abs=0.3)
    assert report["model"]["pearson"] > 0.9
    assert report["model"]["elpd"] > report["baselines"]["mean"]["elpd"] + 0.5
    assert report["recalibration"]["scale"]["factor"] == pytest.approx(1.0, abs=0.3)


def test_an_overconfident_model_is_found_out() -> None:
    data = linear_training(noise=0.5, extra=4.0)
    report = measure_evidence(Ridge(), data, seed=1).report
    assert report["model"]["coverage"]["90"] < 0.4
    assert report["recalibration"]["scale"]["factor"] > 3.0


def test_the_fit_never_sees_what_it_is_judged_on() -> None:
    """Other scores of the held-out blocks: the same predictions, another judgement."""
    training = linear_training().sorted()
    _, held = split_rows(len(training.blocks), 3)
    model, blocks = Ridge(), training.blocks
    score = blocks.score.copy()
    score[held] += 1000.0
    other = Training(
        ScoredBlocks(blocks.candidates, score, blocks.noise_sd), training.features, None
    )
    first, second = (measure_evidence(model, data, seed=3) for data in (training, other))
    assert first.report["model"]["predictive_sd"] == second.report["model"]["predictive_sd"]
    assert second.report["model"]["rmse"] > 900
    assert model.fits == [(144, None, False)] * 2


def test_row_order_is_irrelevant() -> None:
    training = linear_training(60)
    order = np.random.default_rng(2).permutation(60)
    shuffled = Training(training.blocks.select(order), training.features)
    first, second = (
        measure_evidence(Ridge(), data, seed=4).report for data in (training, shuffled)
    )
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_few_blocks_give_nulls_and_no_recalibration() -> None:
    report = measure_evidence(Ridge(), linear_training(7), seed=0, draws=8).report
    assert report["n_held_out"] == 1
    assert report["model"]["pearson"] is None
    assert report["noise_ceiling"]["pearson"] is None
    assert report["recalibration"] is None


def test_it_stops_when_asked() -> None:
    with pytest.raises(Stopped):
        measure_evidence(Ridge(), linear_training(), seed=0, should_stop=lambda: True)


def test_chances_of_held_out_hits_are_kept() -> None:
    data = linear_training()
    threshold = float(np.quantile(data.blocks.score, 0.7))
    report = measure_evidence(Ridge(), data, seed=3, hit_threshold=threshold).report
    kept = report["hit_forecast"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert kept["threshold"] == threshold
    chance, hit = np.array(kept["chance"]), np.array(kept["hit"])
    score = data.sorted().blocks.score[split_rows(len(data.blocks), 3)[1]]
    assert np.array_equal(hit, score > threshold)
    assert len(chance) == report["n_held_out"]
    # The model is right: hits are as many as promised, and where they were promised.
    assert chance.sum() == pytest.approx(hit.sum(), abs=4 * np.sqrt((chance * (1 - chance)).sum()))
    assert chance[hit == 1].mean() > chance[hit == 0].mean() + 0.4
    other = measure_evidence(Ridge(), data, seed=3).report
    ignored = ("hit_forecast", "seconds")
    assert {k: v for k, v in other.items() if k not in ignored} == {
        k: v for k, v in report.items() if k not in ignored
    }


def test_only_what_is_judged_is_held_out() -> None:
    """A fifth of the judged ones; the fit sees all others whole, and rows may come in any order."""
    judged = np.zeros(50, bool)
    judged[10:30] = True
    kept, left_out = split_rows(50, 1, judged)
    assert len(left_out) == 4
    assert judged[left_out].all()
    assert sorted([*kept, *left_out]) == list(range(50))
    assert np.array_equal(split_rows(50, 1, np.ones(50, bool))[1], split_rows(50, 1)[1])
    training = linear_training()
    rows = np.arange(len(training.blocks)) % 3 == 0
    found = measure_evidence(Ridge(), training, seed=3, judged=rows)
    assert (found.report["n_train"], found.report["n_held_out"]) == (168, 12)
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = Training(training.blocks.select(order), training.features, training.wells)
    again = measure_evidence(Ridge(), shuffled, seed=3, judged=rows[order])
    assert np.array_equal(again.log_density, found.log_density)
