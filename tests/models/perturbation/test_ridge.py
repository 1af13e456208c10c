"""Ridge: closed forms against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.ridge import Ridge, _left_out
from models.screen import ScreenError
from tests.models.perturbation.responses import screen


def test_left_out_errors_are_those_of_fits_without_the_row() -> None:
    table, _ = screen(p=5)
    rows = table.sorted()
    x, y = rows.doses, rows.values
    judged = np.array([0, 7, 12])
    errors, inflation = _left_out(rows, np.arange(len(rows)), judged, 0.4)
    for k, i in enumerate(judged):
        kept = np.arange(len(rows)) != i
        inverse = np.linalg.inv(x[kept].T @ x[kept] + 0.4 * np.eye(5))
        np.testing.assert_allclose(errors[k], y[i] - x[i] @ inverse @ x[kept].T @ y[kept])
        assert inflation[k] == pytest.approx(1 + x[i] @ inverse @ x[i])


def test_draws_have_the_moments_and_are_additive() -> None:
    table, _ = screen()
    posterior = Ridge().fit(table, seed=0)
    doses = table.pairs().doses[:3]
    draws = posterior.draws(doses, 4000, 0)
    mean, variance = posterior.moments(doses)
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5 * np.sqrt(variance / 4000))
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.15)
    parts = np.array([[1.0, 0, 0, 0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0, 0, 0, 0]])
    worlds = posterior.draws(np.concatenate([parts, parts.sum(axis=0)[None]]), 5, 3)
    np.testing.assert_allclose(worlds[:, 2], worlds[:, 0] + worlds[:, 1], atol=1e-12)


def test_penalty_follows_the_noise() -> None:
    quiet, _ = screen(noise=0.01)
    loud, _ = screen(noise=6.0)
    assert Ridge().fit(loud, seed=0).penalty > 3 * Ridge().fit(quiet, seed=0).penalty


def test_singles_only_does_not_learn_from_pairs() -> None:
    table, _ = screen(interaction=1.0)
    model = Ridge(singles_only=True, penalties=(0.1,))
    both, alone = model.fit(table, seed=0), model.fit(table.singles(), seed=0)
    np.testing.assert_allclose(both.weights, alone.weights, atol=1e-12)
    # What pairs do tell is how wrong the sums are.
    assert both.noise_scale.mean() > 2 * alone.noise_scale.mean()
    with pytest.raises(ScreenError, match="single perturbation"):
        model.fit(table.pairs(), seed=0)


@pytest.mark.parametrize("singles_only", [False, True])
def test_saved_and_loaded_it_draws_the_same(singles_only: bool) -> None:
    table, _ = screen()
    model = Ridge(singles_only=singles_only)
    fitted = model.fit(table, seed=0)
    loaded = model.load(*fitted.save())
    assert loaded.draws(table.doses, 3, 1).tobytes() == fitted.draws(table.doses, 3, 1).tobytes()
    assert (loaded.penalty, loaded.noise_df) == (fitted.penalty, fitted.noise_df)
