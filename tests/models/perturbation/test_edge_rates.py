"""q-values against frequencies that are known."""

from __future__ import annotations

import numpy as np
import pytest

from models.perturbation.edge_rates import edge_q_values, fit_frequencies, frequencies


def drawn(seed, power, g=80):
    """Probabilities whose true frequency is p ** power, and edges drawn by it."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.2, 0.8, size=(g, g))
    np.fill_diagonal(p, 0.0)
    return p, rng.random((g, g)) < p**power


@pytest.mark.parametrize("power", [0.6, 1.0, 2.0])
def test_rates_come_true_whatever_the_probabilities_are_worth(power):
    p, truth = drawn(0, power)
    q = edge_q_values(p, [np.zeros_like(p)], [drawn(1, power), drawn(2, power)])
    called = q <= 0.1
    assert called.sum() > 150
    assert (called & ~truth).sum() / called.sum() == pytest.approx(0.1, abs=0.05)


def test_without_edges_to_learn_from_the_probabilities_stand():
    curve = fit_frequencies(np.array([]), np.array([], dtype=bool))
    p = np.array([0.1, 0.5, 0.9])
    assert frequencies(p, curve) == pytest.approx(p)


def test_noise_in_controls_raises_rates():
    p, _ = drawn(3, 1.0)
    rebuilt = [drawn(4, 1.0)]
    quiet = edge_q_values(p, [np.zeros_like(p)], rebuilt)
    noisy = edge_q_values(p, [np.random.default_rng(5).permuted(p)], rebuilt)
    assert (noisy >= quiet).all()
    assert (quiet <= 0.1).sum() > 100
    assert (noisy <= 0.1).sum() == 0


def test_rates_rise_as_probabilities_fall_and_ignore_the_order_of_genes():
    p, _ = drawn(6, 1.0, g=20)
    p[3, 4] = p[5, 6]
    rebuilt, null = [drawn(7, 1.0, g=20)], [np.zeros_like(p)]
    q = edge_q_values(p, null, rebuilt)
    assert q[3, 4] == q[5, 6]
    off = ~np.eye(20, dtype=bool)
    assert (np.diff(q[off][np.argsort(-p[off])]) >= 0).all()
    assert (np.diag(q) == 1).all()
    order = np.random.default_rng(8).permutation(20)
    moved = edge_q_values(p[np.ix_(order, order)], null, rebuilt)
    assert moved == pytest.approx(q[np.ix_(order, order)], abs=1e-12)
