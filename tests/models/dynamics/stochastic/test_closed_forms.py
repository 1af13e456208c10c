"""Closed forms against each other, against limits and against numerical integration."""

import numpy as np
import pytest

from models.dynamics.stochastic.closed_forms import (
    GrowthRates,
    birth_death_moments,
    extinction,
    growth_extinction,
    telegraph_fano,
)
from models.screen import ScreenError


def test_moments_at_equal_rates_are_the_limit():
    mean, variance = birth_death_moments(5, 0.05, 0.05, 12.0)
    assert mean == 5
    assert variance == pytest.approx(5 * 2 * 0.05 * 12)
    near = birth_death_moments(5, 0.05 + 1e-9, 0.05, 12.0)
    assert near[1] == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize(
    ("b", "d"), [(0.1, 0.04), (0.04, 0.1), (0.07, 0.07), (0.0, 0.1), (0.1, 0.0)]
)
def test_extinction_is_the_textbook_fraction(b, d):
    t = 30.0
    grown = np.exp((b - d) * t)
    one = b * t / (1 + b * t) if b == d else d * (grown - 1) / (b * grown - d)
    assert extinction(1, b, d, t) == pytest.approx(one, rel=1e-9)
    assert extinction(4, b, d, t) == pytest.approx(one**4, rel=1e-9)


def test_extinction_in_the_end():
    found = extinction(3, [0.1, 0.04, 0.1, 0.0], [0.04, 0.1, 0.0, 0.0], np.inf)
    assert found == pytest.approx([0.4**3, 1.0, 0.0, 0.0])
    assert extinction(3, 0.1, 0.04, 1e6) == pytest.approx(0.4**3)
    assert extinction(0, 0.1, 0.0, 1.0) == 1.0


def rates(b, d, q, r):
    return GrowthRates(*(np.array([v], np.float64) for v in (b, d, q, r)))


def test_two_kinds_of_cells_without_sleep_are_one_kind():
    times = np.array([0.0, 10.0, 48.0, 200.0])
    for b, d in ((0.1, 0.04), (0.03, 0.09), (0.05, 0.05)):
        found = growth_extinction(rates(b, d, 0, 0), 3, 0, times)[0]
        assert found == pytest.approx(extinction(3, b, d, times), rel=1e-6, abs=1e-12)


def test_sleepers_that_never_wake_are_never_lost():
    times = np.array([24.0, 1e4])
    assert growth_extinction(rates(0, 0.1, 0, 0), 1, 1, times)[0].tolist() == [0, 0]
    # One cell dies before it falls asleep with chance d / (d + q).
    found = growth_extinction(rates(0, 0.06, 0.02, 0), 1, 0, times)[0]
    assert found[-1] == pytest.approx(0.75, rel=1e-6)


def test_two_kinds_of_cells_wake_and_die():
    """Without division one cell's life has phases: numerically by the matrix exponential."""
    from scipy.linalg import expm

    b, d, q, r = 0.0, 0.07, 0.03, 0.02
    generator = np.array([[-(d + q), q, d], [r, -r, 0], [0, 0, 0]])
    times = np.array([5.0, 40.0, 160.0])
    one = np.array([expm(generator * t)[0, 2] for t in times])
    other = np.array([expm(generator * t)[1, 2] for t in times])
    found = growth_extinction(rates(b, d, q, r), 2, 3, times)[0]
    assert found == pytest.approx(one**2 * other**3, rel=1e-6)


def test_a_gene_always_on_is_poisson():
    assert telegraph_fano(1e6, 1e-6, 5, 1) == pytest.approx(1)
    assert telegraph_fano(0.1, 0.3, 5, 1) == pytest.approx(1 + 5 * 0.3 / (0.4 * 1.4))


def test_what_is_no_rate():
    with pytest.raises(ScreenError, match="0 or more"):
        extinction(1, -0.1, 0.1, 1.0)
    with pytest.raises(ScreenError, match="0 or more"):
        rates(0.1, -0.1, 0, 0)
    with pytest.raises(ScreenError, match="above 0"):
        telegraph_fano(0, 1, 1, 1)
