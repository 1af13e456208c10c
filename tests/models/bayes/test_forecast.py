"""What is said of a forecast: right where the answer is known, silent where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.bayes import forecast
from models.bayes.forecast import (
    mark,
    noise_ceiling,
    score_forecast,
    score_marks,
    thirds,
    top_recall,
)
from models.bayes.predictive import Noise, log_predictive_density, pearson

M = 6000


def perfect(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth with two sources: mean known, epistemic sd 1, noise sd 2; and its observation."""
    rng = np.random.default_rng(seed)
    mean = 3 * rng.normal(size=M)
    draws = mean + rng.normal(size=(200, M))
    return mean, draws, mean + rng.normal(size=M) + 2 * rng.normal(size=M)


def test_a_perfect_forecast_covers_what_it_says_in_every_predicted_third() -> None:
    _, draws, observed = perfect()
    report = score_forecast(draws, observed, Noise(np.full(M, 2.0)))
    for level, share in report["coverage"].items():
        assert share == pytest.approx(float(level) / 100, abs=0.02)
    for part in report["coverage_by_predicted"].values():
        assert part["90"] == pytest.approx(0.9, abs=4 * 0.3 / (M / 3) ** 0.5)
    observed_thirds = report["coverage_by_observed"]
    assert observed_thirds["middle"]["90"] > 0.95 > 0.9 > observed_thirds["low"]["90"]
    assert report["predictive_sd"] == pytest.approx(5**0.5, rel=0.01)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _, draws, observed = perfect()
    draws, observed, noise = draws[:, :500], observed[:500], Noise(np.full(500, 2.0), 5.0)
    whole = log_predictive_density(draws, observed, noise)
    monkeypatch.setattr(forecast, "COLUMNS", 7)
    marks = mark(draws, observed, noise)
    assert np.allclose(marks.log_density, whole, rtol=1e-12)
    assert np.all((marks.position >= 0) & (marks.position <= 1))


def test_thirds_are_by_rank_and_hold_every_row_once() -> None:
    values = np.random.default_rng(0).normal(size=10)
    parts = thirds(values)
    assert sorted(np.concatenate(parts).tolist()) == list(range(10))
    assert [len(part) for part in parts] == [4, 3, 3]
    assert values[parts[0]].max() < values[parts[1]].min()
    assert [len(part) for part in thirds(np.ones(2))] == [1, 1, 0]


def test_the_ceiling_is_the_correlation_of_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth, sd = 5 * rng.normal(size=50_000), rng.uniform(0.5, 4.0, 50_000)
    observed = truth + sd * rng.normal(size=50_000)
    assert noise_ceiling(observed, sd) == pytest.approx(pearson(truth, observed), abs=0.004)
    assert noise_ceiling(np.array([1.0, 2.0, 3.0]), np.full(3, 9.0)) == 0.0
    assert noise_ceiling(np.ones(9), np.ones(9)) is None
    assert noise_ceiling(np.arange(2.0), np.ones(2)) is None


def test_the_top_is_found_or_not() -> None:
    observed = np.arange(100.0)
    assert top_recall(observed, observed, 0.05) == {"recall": 1.0, "enrichment": 20.0}
    assert top_recall(-observed, observed, 0.05) == {"recall": 0.0, "enrichment": 0.0}
    half = observed.copy()
    half[[98, 99]] = -1
    assert top_recall(half, observed, 0.05)["recall"] == 0.6
    assert top_recall(np.ones(100), observed, 0.05)["recall"] is None
    assert top_recall(np.arange(5.0), np.arange(5.0), 0.05)["recall"] is None


def test_the_lowest_can_be_the_best() -> None:
    observed = np.arange(100.0)
    mean = np.where(observed < 5, -1.0 - observed, observed)
    marks = mark(mean[None], observed, Noise(np.ones(100)))
    assert score_marks(marks, observed, low_is_best=True)["top"]["recall"] == 1.0
    assert score_marks(marks, -observed)["top"]["recall"] == 0.0


def test_too_few_observations_give_null_and_not_nan() -> None:
    report = score_forecast(np.zeros((3, 1)), np.ones(1), Noise(np.ones(1)))
    assert report["pearson"] is None
    assert report["coverage_by_observed"]["high"]["90"] is None
    assert report["elpd"] == pytest.approx(-0.5 - 0.5 * np.log(2 * np.pi), abs=1e-6)
