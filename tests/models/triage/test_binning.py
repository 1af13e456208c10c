"""Bins of curves: runs, clusters, and how many of them a variable deserves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from models.triage.binning import FEWEST, Cut, choose_bins
from models.triage.splines import Curve, fit_curves_of


def fitted(truth: np.ndarray, x: np.ndarray, seed: int = 0) -> tuple[Curve, np.ndarray]:
    hit = (np.random.default_rng(seed).random(len(x)) < expit(truth)).astype(float)
    none = np.zeros((len(x), 0))
    return fit_curves_of(none, {"x": x}, hit, np.ones(len(x))).curves["x"], hit


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(-2, 2, 3000)


def test_constrained_bins_are_runs_in_order(x: np.ndarray) -> None:
    curve, _ = fitted(2 * np.cos(3 * x) - 1, x)
    bins = Cut.of(curve, x).bins(6)
    assert len(bins.run) == 6 == len(bins.value)
    assert bins.run.tolist() == list(range(6))
    assert np.all(np.diff(bins.breaks) > 0)
    assert bins.rows.sum() == pytest.approx(1.0)


def test_clusters_may_consist_of_several_runs(x: np.ndarray) -> None:
    curve, _ = fitted(2 * np.cos(3 * x) - 1, x)
    bins = Cut.of(curve, x, constrained=False).bins(3)
    assert len(bins.value) == 3 < len(bins.run)
    assert sorted(bins.value) == bins.value.tolist()


@pytest.mark.parametrize("k", [2, 4, 7])
def test_both_ways_agree_on_a_monotone_curve(x: np.ndarray, k: int) -> None:
    curve, _ = fitted(1.5 * x - 1, x)
    assert np.all(np.diff(curve.at(np.sort(x))[0]) >= 0)
    runs, clusters = (Cut.of(curve, x, constrained=c).bins(k) for c in (True, False))
    assert np.array_equal(runs.breaks, clusters.breaks)
    assert np.array_equal(runs.value, clusters.value)


def test_as_many_bins_as_values_are_the_curve_itself() -> None:
    x = np.repeat(np.arange(5.0), 100)
    curve, _ = fitted(np.sin(x), x)
    bins = Cut.of(curve, x).bins(5)
    assert bins.of(np.arange(5.0)) == pytest.approx(curve.at(np.arange(5.0))[0], abs=1e-12)
    assert Cut.of(curve, x).bins(10).value == pytest.approx(bins.value)


def test_values_outside_belong_to_the_ends_and_unknown_ones_to_none(x: np.ndarray) -> None:
    curve, _ = fitted(1.5 * x, x)
    bins = Cut.of(curve, x).bins(3)
    assert bins.find(np.array([-99.0, 99.0, np.nan])).tolist() == [0, 2, -1]
    assert bins.of(np.array([np.nan]))[0] == 0.0


def test_a_curve_with_signal_gets_more_bins_than_one_without(x: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    numbers = {"strong": x, "noise": rng.standard_normal(len(x))}
    hit = (rng.random(len(x)) < expit(2.5 * x - 1)).astype(float)
    none, one = np.zeros((len(x), 0)), np.ones(len(x))
    curves = fit_curves_of(none, numbers, hit, one).curves
    cuts = {name: Cut.of(curve, numbers[name]) for name, curve in curves.items()}
    chosen = choose_bins(cuts, numbers, none, hit, one)
    assert chosen["noise"] == FEWEST < 4 <= chosen["strong"]


@pytest.mark.slow
def test_degrees_of_freedom_cover_what_bins_adapt_to_noise() -> None:
    """Of pure noise, by simulation: half the expected optimism of the deviance (Efron 2004,
    equation 3.10) of the binned curve must not exceed what AIC charges; one for each variable,
    as published, is too little."""
    rng = np.random.default_rng(9)
    n, k, true = 400, 4, -1.0
    x = rng.standard_normal(n)
    optimism, charged = [], []
    for _ in range(150):
        hit = (rng.random(n) < expit(true)).astype(float)
        curve = fit_curves_of(np.zeros((n, 0)), {"x": x}, hit, np.ones(n)).curves["x"]
        bins = Cut.of(curve, x).bins(k)
        logits = np.log(hit.mean() / (1 - hit.mean())) + bins.of(x)
        optimism.append(float(((hit - expit(true)) * logits).sum()))
        charged.append(1 + bins.freedom)
    error = np.std(optimism) / np.sqrt(len(optimism))
    assert np.mean(optimism) - 2 * error < np.mean(charged)
