"""Main effects and shared interactions: exact posteriors, exact zeros, what is recovered."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from models.perturbation.evaluate import each_row, hold_out, interaction_draws
from models.perturbation.features import PresentPairs, main_features, typical_doses
from models.perturbation.learnable import learnable
from models.perturbation.pair_factors import PairFactors
from models.perturbation.readout_factors import fit_factors
from models.perturbation.ridge import Ridge
from models.screen import ScreenError, Stopped
from tests.models.perturbation.responses import screen


def test_features_are_zero_exactly_where_doses_are() -> None:
    doses = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 3.0, 0.0], [2.0, 3.0, 5.0]])
    main = main_features(doses, np.ones(3), 0.7)
    assert ((main == 0) == (doses == 0)).all()
    assert main[1, 0] == pytest.approx(2.0**0.7)
    np.testing.assert_allclose(
        main_features(doses, np.array([1.0, 2.0, 4.0]), 1.0)[3], [2, 1.5, 1.25]
    )
    shared = PresentPairs.of(main).bilinear(np.random.default_rng(0).normal(size=(3, 2)))
    assert not shared[:2].any()
    assert shared[2:].any()
    np.testing.assert_array_equal(typical_doses(doses), [2.0, 3.0, 5.0])


def test_interaction_features_have_the_kernel_they_promise() -> None:
    z = np.random.default_rng(0).normal(size=(4, 3))
    pairs = list(itertools.combinations(range(4), 2))
    doses = np.array([[float(k in pair) for k in range(4)] for pair in pairs])
    found = PresentPairs.of(doses).bilinear(z)
    s = z @ z.T
    expected = [[(s[a, c] * s[b, d] + s[a, d] * s[b, c]) / 2 for c, d in pairs] for a, b in pairs]
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-12)


def test_evidence_of_main_effects_is_that_of_the_dense_gaussian() -> None:
    table, _ = screen(p=4, g=5)
    fitted = PairFactors(powers=(1.0,), interactions=(0.6,)).fit(table, seed=0)
    directions, prior = fitted.directions, fitted.prior
    parts = prior.parts(fitted.doses)
    main, pair = parts.main @ parts.main.T, prior.pair_cross(parts, parts)
    rest = np.eye(5) - directions @ directions.T
    across = directions @ np.diag(fitted.strength) @ directions.T + fitted.rest * rest
    cov = np.kron(main, across) + np.kron(pair + np.eye(len(main)), np.eye(5))
    scale = np.tile(fitted.noise_scale, len(main))
    cov = cov * np.outer(scale, scale)
    y = learnable(table).values.ravel()
    _sign, size = np.linalg.slogdet(cov)
    dense = -0.5 * (y @ np.linalg.solve(cov, y) + size + len(y) * math.log(2 * math.pi))
    assert fitted.log_evidence() == pytest.approx(dense, rel=1e-8)


def test_moments_and_draws_are_those_of_the_dense_posterior() -> None:
    table, _ = screen(p=4, g=5, interaction=0.5)
    fitted = PairFactors(interactions=(0.6,)).fit(table, seed=0)
    at = np.array([[1.0, 0.5, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    prior = fitted.prior
    a, b = prior.parts(at), prior.parts(fitted.doses)
    directions = fitted.directions
    rest = np.eye(5) - directions @ directions.T
    across = directions @ np.diag(fitted.strength) @ directions.T + fitted.rest * rest

    def cov(x, y):
        return np.kron(x.main @ y.main.T, across) + np.kron(prior.pair_cross(x, y), np.eye(5))

    gain = np.linalg.solve(cov(b, b) + np.eye(5 * len(fitted.doses)), cov(b, a)).T
    values = (learnable(table).values / fitted.noise_scale).ravel()
    mean = (gain @ values).reshape(3, 5) * fitted.noise_scale
    left = cov(a, a) - gain @ cov(b, a)
    variance = np.diag(left).reshape(3, 5) * np.square(fitted.noise_scale)
    found = fitted.moments(at)
    np.testing.assert_allclose(found[0], mean, atol=1e-9)
    np.testing.assert_allclose(found[1], variance, atol=1e-9)
    draws = fitted.draws(at, 3000, 0)
    assert np.all(np.abs(draws.mean(axis=0) - mean) <= 5 * np.sqrt(variance / 3000) + 1e-9)
    scaled = (draws / fitted.noise_scale).reshape(3000, -1)
    np.testing.assert_allclose(np.cov(scaled.T), left, atol=0.12 * left.max())


def test_worlds_are_functions_and_controls_do_not_move() -> None:
    table, _ = screen(interaction=0.5)
    fitted = PairFactors().fit(table, seed=0)
    doses = np.concatenate([table.pairs().doses, np.zeros((1, 8))])
    whole = fitted.draws(doses, 4, 7)
    np.testing.assert_allclose(fitted.draws(doses[5:9], 4, 7), whole[:, 5:9], atol=1e-10)
    np.testing.assert_allclose(fitted.draws(doses, 2, 7), whole[:2], atol=1e-10)
    assert not whole[:, -1].any()
    assert not fitted.mean(doses)[-1].any()
    assert not interaction_draws(fitted, table.singles().doses, 3, 0).any()
    assert interaction_draws(fitted, table.pairs().doses, 3, 0).any()


def test_order_of_rows_and_names_of_columns_do_not_matter() -> None:
    table, _ = screen(interaction=0.5)
    doses = table.pairs().doses
    fitted = PairFactors().fit(table, seed=0)
    mixed = table.select(np.random.default_rng(0).permutation(len(table)))
    assert PairFactors().fit(mixed, seed=0).mean(doses).tobytes() == fitted.mean(doses).tobytes()


def test_it_borrows_interactions_where_ridge_cannot() -> None:
    table, _truth = screen(seed=1, p=10, g=20, interaction=0.4)
    rows = learnable(table)
    pairs = np.flatnonzero(rows.n_present == 2)[::3]
    model = PairFactors(powers=(1.0,), interactions=(0.4, 1.6, 6.4, 25.6))
    own = hold_out(model, rows, each_row(pairs), seed=0).squared_error.mean()
    other = hold_out(Ridge(), rows, each_row(pairs), seed=0).squared_error.mean()
    assert own < 0.5 * other


def test_without_interactions_the_evidence_says_so() -> None:
    table, _ = screen(p=10, g=30, noise=0.3)
    assert PairFactors().fit(table, seed=0).prior.shared <= 0.1


def test_noise_and_directions_are_found() -> None:
    rng = np.random.default_rng(0)
    features = np.repeat(np.eye(20), 4, axis=0)
    loading = rng.normal(size=(2, 30))
    noise = np.where(np.arange(30) < 15, 0.2, 0.6)
    values = features @ rng.normal(size=(20, 2)) @ loading + noise * rng.normal(size=(80, 30))
    factors = fit_factors(features, values)
    assert factors.noise_sd[:15].mean() == pytest.approx(0.2, rel=0.15)
    assert factors.noise_sd[15:].mean() == pytest.approx(0.6, rel=0.15)
    seen = factors.directions[:, :2].T @ (loading / factors.noise_sd).T
    share = np.square(seen).sum() / np.square(loading / factors.noise_sd).sum()
    assert share > 0.85


def test_saved_and_loaded_it_draws_the_same() -> None:
    table, _ = screen()
    fitted = PairFactors().fit(table, seed=0)
    loaded = PairFactors().load(*fitted.save())
    assert loaded.draws(table.doses, 3, 1).tobytes() == fitted.draws(table.doses, 3, 1).tobytes()
    tensors, metadata = fitted.save()
    with pytest.raises(ScreenError, match="cannot load pair_factors version 99"):
        PairFactors().load(tensors, metadata | {"version": 99})


def test_it_stops_and_tells_how_far_it_is() -> None:
    table, _ = screen()
    heard: list[str] = []
    PairFactors().fit(table, seed=0, on_progress=lambda stage, *_: heard.append(stage))
    assert set(heard) == {"main effects", "interactions"}
    with pytest.raises(Stopped):
        PairFactors().fit(table, seed=0, should_stop=lambda: len(heard) > 0)
