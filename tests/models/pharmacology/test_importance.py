"""Importance sampling: exact on normal posteriors, right on bent ones, the same for everybody."""

import numpy as np
import pytest
from scipy import integrate, stats

from models.pharmacology.importance import WeightedDraws, sample_posteriors
from models.screen import FloatArray, Stopped, never_stop


def test_normal_posteriors_are_as_they_are() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 4, 4))
    precision = root @ np.swapaxes(root, 1, 2) + np.eye(4)
    mode = rng.normal(size=(3, 4))

    def log_posterior(z: FloatArray) -> FloatArray:
        away = z - mode[:, None]
        return np.asarray(-0.5 * np.einsum("bni,bij,bnj->bn", away, precision, away))

    drawn = sample_posteriors(log_posterior, mode, precision, never_stop)
    sd = np.sqrt(np.einsum("bii->bi", np.linalg.inv(precision)))
    assert drawn.sd() == pytest.approx(sd, rel=0.06)
    for share in (0.05, 0.5, 0.95):
        wanted = mode + stats.norm.ppf(share) * sd
        assert np.abs(drawn.quantile(drawn.points, share) - wanted).max() < 0.12 * sd.max()
    assert drawn.effective.min() > 400
    assert drawn.weight.sum(axis=1) == pytest.approx(1.0)


def bent(z: FloatArray) -> FloatArray:
    """A ridge: the second unknown follows half the square of the first."""
    away = z[..., 1] - 0.5 * np.square(z[..., 0])
    return np.asarray(-0.5 * (np.square(z[..., 0]) + np.square(away / 0.5)))


def test_a_bent_posterior_is_wider_than_its_curvature_at_the_mode() -> None:
    mode, precision = np.zeros((1, 2)), np.diag([1.0, 4.0])[None]
    drawn = sample_posteriors(bent, mode, precision, never_stop)
    # The second unknown is half a chi-square of one degree of freedom plus N(0, 0.5^2).
    wanted = integrate.quad(
        lambda x: 2 * stats.norm.pdf(x) * stats.norm.cdf((1.5 - 0.5 * x * x) / 0.5), 0.0, 8.0
    )[0]
    inside = float((drawn.weight * (drawn.points[..., 1] < 1.5)).sum())
    assert inside == pytest.approx(wanted, abs=0.025)
    assert drawn.sd()[0] == pytest.approx([1.0, np.sqrt(0.5 + 0.25)], rel=0.1)


def test_the_same_posterior_gets_the_same_draws_beside_others() -> None:
    mode, precision = np.zeros((2, 2)), np.tile(np.diag([1.0, 4.0]), (2, 1, 1))
    both = sample_posteriors(bent, mode, precision, never_stop)
    one = sample_posteriors(bent, mode[:1], precision[:1], never_stop)
    assert np.allclose(both.points[0], one.points[0], atol=1e-12)
    assert np.allclose(both.weight[0], both.weight[1], atol=1e-12)


def test_quantiles_of_equal_weights_are_ordinary_ones() -> None:
    values = np.random.default_rng(1).normal(size=(2, 1001, 1))
    drawn = WeightedDraws(values, np.full((2, 1001), 1.0 / 1001))
    for share in (0.05, 0.5, 0.95):
        wanted = np.quantile(values, share, axis=1, method="hazen")
        assert drawn.quantile(values, share) == pytest.approx(wanted, abs=1e-9)


def test_what_is_not_finite_counts_nothing_and_it_can_be_stopped() -> None:
    def half(z: FloatArray) -> FloatArray:
        return np.where(z[..., 0] > 0.0, -0.5 * np.square(z).sum(-1), np.nan)

    drawn = sample_posteriors(half, np.zeros((1, 1)), np.ones((1, 1, 1)), never_stop)
    assert drawn.weight[drawn.points[..., 0] <= 0.0].sum() == 0.0
    median = drawn.quantile(drawn.points, 0.5)[0, 0]
    assert median == pytest.approx(stats.halfnorm.median(), abs=0.05)
    with pytest.raises(Stopped):
        sample_posteriors(bent, np.zeros((1, 2)), np.eye(2)[None], lambda: True)
