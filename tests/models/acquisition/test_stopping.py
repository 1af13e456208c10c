"""Advice to stop, and the curve so far."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from models.acquisition import stopping
from models.acquisition.hit_calibration import HitCalibration
from models.acquisition.hit_counts import HitForecast, count_hits, next_plates
from models.acquisition.stopping import (
    CONSIDER,
    GO_ON,
    STOP,
    StopRules,
    learning_curve,
    stop_advice,
    survey_pool,
)
from models.bayes.predictive import Noise
from models.pharmacology.random_numbers import combine, normals
from models.screen import Candidates, ScreenError, Stopped

GOOD = {
    "n_held_out": 200,
    "model": {"spearman": 0.6, "elpd": -3.0},
    "baselines": {"mean": {"elpd": -3.4}},
}
POOR = {**GOOD, "model": {"spearman": 0.05, "elpd": -3.0}}


def hits(**probability: float) -> HitForecast:
    """``hits(c3=0.5, c8=0.5)``: three or eight hits."""
    counts = {int(name[1:]): p for name, p in probability.items()}
    values = np.zeros(max(counts) + 1)
    for count, p in counts.items():
        values[count] = p
    return HitForecast(values)


class Scores:
    """Independent scores around 4, sd 3."""

    noise_df = 4.0

    def draws(self, candidates: Candidates, n: int, seed: int) -> torch.Tensor:
        key = combine(candidates.keys(1000))
        return torch.from_numpy(4.0 + 3.0 * normals(seed, key, n, 1)[..., 0]).float()

    def noise_scale(self, candidates: Candidates) -> torch.Tensor:
        return 1.0 + torch.from_numpy(candidates.cell_line).float()


def test_go_on_while_hits_are_in_sight() -> None:
    advice = stop_advice(hits(c40=0.5, c60=0.5), hits(c2=0.5, c6=0.5), 50, StopRules())
    assert advice.advice == GO_ON
    assert "50 hits are found" in advice.reason
    assert "50 (90 % interval 40 to 60) are left" in advice.reason
    assert "4.0 (90 % interval 2 to 6) of them on the next plate" in advice.reason
    assert advice.numbers["share_found"][0] == pytest.approx(0.5 * (50 / 90 + 50 / 110))
    json.dumps(advice.numbers)


def test_a_share_that_is_surely_reached_stops() -> None:
    advice = stop_advice(hits(c2=0.95, c30=0.05), hits(c1=1.0), 90, StopRules())
    assert advice.advice == STOP
    assert "At least 90 % of all hits have been found: this is 95 % certain." in advice.reason
    unsure = stop_advice(hits(c2=0.8, c12=0.2), hits(c1=1.0), 90, StopRules())
    assert unsure.advice == CONSIDER
    assert "only 80 % certain" in unsure.reason
    # Ten left of a hundred is exactly the share, eleven is not.
    assert stop_advice(hits(c10=1.0), hits(c1=1.0), 90, StopRules()).advice == STOP
    assert stop_advice(hits(c11=1.0), hits(c1=1.0), 90, StopRules()).advice == GO_ON


def test_a_plate_without_hits_stops() -> None:
    rules = StopRules(min_hits_per_plate=2.0)
    left = hits(c40=1.0)
    assert stop_advice(left, hits(c0=0.7, c1=0.3), 5, rules).advice == STOP
    expected = stop_advice(left, hits(c0=0.7, c4=0.3), 5, rules)
    assert expected.advice == CONSIDER
    assert "fewer than the 2 hits asked for" in expected.reason
    assert stop_advice(left, hits(c2=1.0), 5, rules).advice == GO_ON


def test_cost_per_hit() -> None:
    rules = StopRules(min_hits_per_plate=0.0, cost_per_plate=1000.0, most_cost_per_hit=400.0)
    left = hits(c40=1.0)
    dear = stop_advice(left, hits(c0=0.5, c2=0.5), 5, rules)
    assert dear.advice == STOP
    assert "costs at least 500; the limit is 400" in dear.reason
    assert dear.numbers["cost_per_hit"] == pytest.approx(1000.0)
    assert stop_advice(left, hits(c1=0.5, c3=0.5), 5, rules).advice == CONSIDER
    assert stop_advice(left, hits(c3=1.0), 5, rules).advice == GO_ON
    nothing = stop_advice(left, hits(c0=1.0), 5, rules)
    assert nothing.advice == STOP
    assert "no hit is in sight" in nothing.reason
    assert nothing.numbers["cost_per_hit"] is None


def test_a_model_that_knows_nothing_does_not_stop_a_campaign() -> None:
    done = (hits(c0=1.0), hits(c0=1.0), 9, StopRules())
    assert stop_advice(*done, evidence=GOOD).advice == STOP
    doubted = stop_advice(*done, evidence=POOR)
    assert doubted.advice == CONSIDER
    assert "does not order blocks beyond chance" in doubted.reason
    busy = stop_advice(hits(c40=1.0), hits(c9=1.0), 9, StopRules(), evidence=POOR)
    assert busy.advice == GO_ON


def test_the_reason_says_whether_forecasts_were_tested() -> None:
    forecasts = (hits(c40=1.0), hits(c9=1.0), 9, StopRules())
    untested = stop_advice(*forecasts)
    assert "Hit probabilities were not put to the test." in untested.reason
    assert untested.numbers["calibrated"] is False
    calibration = HitCalibration.of(np.full(50, 0.25), np.arange(50) < 6)
    tested = stop_advice(*forecasts, calibration=calibration).reason
    assert "50 forecasts, which promised 12.5 hits where 6 were found." in tested


def test_nothing_found_is_no_share() -> None:
    advice = stop_advice(hits(c0=0.5, c9=0.5), hits(c2=1.0), 0, StopRules())
    assert advice.advice == GO_ON
    assert advice.numbers["probability_share_reached"] == 0.5
    assert stop_advice(hits(c0=1.0), hits(c0=1.0), 0, StopRules()).advice == STOP


def test_rules_are_data() -> None:
    rules = StopRules(cost_per_plate=900.0, most_cost_per_hit=100.0)
    assert StopRules.from_dict(json.loads(json.dumps(dataclasses.asdict(rules)))) == rules
    for wrong in (
        {"share": 1.0},
        {"certainty": 0.0},
        {"min_hits_per_plate": -1.0},
        {"cost_per_plate": 10.0},
        {"cost_per_plate": 10.0, "most_cost_per_hit": 0.0},
        {"plates": 3},
    ):
        with pytest.raises(ScreenError):
            StopRules.from_dict(wrong)


def test_learning_curve_by_hand() -> None:
    curve = learning_curve([24, 24, 12], [2, 6, 0], hits(c2=0.5, c12=0.5))
    assert [(p.round, p.measured, p.hits) for p in curve] == [(1, 24, 2), (2, 48, 8), (3, 60, 8)]
    assert curve[0].share == pytest.approx(0.5 * (0.2 + 0.1))
    assert (curve[0].share_low, curve[0].share_high) == (0.1, 0.2)
    assert curve[1].share == curve[2].share == pytest.approx(0.5 * (0.8 + 0.4))
    json.dumps([dataclasses.asdict(point) for point in curve])
    assert learning_curve([24], [0], hits(c0=1.0))[0].share is None
    assert learning_curve([24], [0], hits(c3=1.0))[0].share == 0.0
    assert learning_curve([], [], hits(c0=1.0)) == ()
    with pytest.raises(ScreenError, match="at most as many hits"):
        learning_curve([2], [3], hits(c0=1.0))


def pool(m: int = 300) -> Candidates:
    a, b = np.triu_indices(30, 1)
    return Candidates(np.stack([a, b], 1)[:m], np.arange(m) % 3)


def test_survey_counts_the_pool_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = np.arange(300) % 4 != 0
    monkeypatch.setattr(stopping, "ELEMENTS_PER_BLOCK", 50 * 32)
    seen = survey_pool(
        Scores(), pool(), usable, threshold=10.0, draws=32, seed=4, plate=10, plates=2
    )
    rows = np.flatnonzero(usable)
    at = pool().select(rows)
    draws = Scores().draws(at, 32, 4).numpy().astype(np.float64)
    noise = Noise(Scores().noise_scale(at).numpy().astype(np.float64), 4.0)
    whole = count_hits(draws, 10.0, noise)
    assert seen.left.probability == pytest.approx(whole.probability, abs=1e-10)
    assert seen.true_left.expected == pytest.approx((draws > 10.0).sum() / 32)
    plates = next_plates(draws, 10.0, noise, 10, 2)
    assert [r.tolist() for r in seen.rows] == [rows[r].tolist() for r, _ in plates]
    assert seen.plates[1].probability == pytest.approx(plates[1][1].probability)
    json.dumps(seen.as_dict())


def test_survey_stops_when_asked_and_needs_candidates() -> None:
    none, all_ = np.zeros(300, bool), np.ones(300, bool)
    rules = {"threshold": 10.0, "draws": 8, "seed": 1, "plate": 5}
    with pytest.raises(ScreenError, match="left to be counted"):
        survey_pool(Scores(), pool(), none, **rules)
    with pytest.raises(Stopped):
        survey_pool(Scores(), pool(), all_, **rules, should_stop=lambda: True)
