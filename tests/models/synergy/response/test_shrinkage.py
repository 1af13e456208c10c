"""Geweke's check: alternating p(data | scales) and the Gibbs step leaves the prior as it is."""

import numpy as np
import pytest

from models.synergy.response.shrinkage import HalfCauchy, StudentScales, inverse_gamma

N = 4000


def test_inverse_gamma_has_its_mean() -> None:
    drawn = inverse_gamma(np.random.default_rng(0), 4.0, np.full(20000, 6.0))
    assert abs(drawn.mean() - 2.0) < 5 * np.sqrt(2.0 / 20000)


@pytest.mark.parametrize("unit", [0.1, 2.0])
def test_half_cauchy_scales_keep_their_prior(unit: float) -> None:
    rng = np.random.default_rng(1)
    scales = HalfCauchy.start(unit, N, unit)
    for _ in range(60):
        effects = np.sqrt(scales.square) * rng.standard_normal((3, N))
        scales.draw(rng, (effects**2).sum(0), 3)
    place = 2 / np.pi * np.arctan(np.sqrt(scales.square) / unit)
    assert np.allclose(np.quantile(place, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.035)


def test_student_scales_keep_their_prior() -> None:
    rng = np.random.default_rng(2)
    scales = StudentScales.start(N, 1.0, 4.0, 1e6)
    scales.overall.square = np.ones(1)
    for _ in range(20):
        effects = rng.standard_normal(N) / np.sqrt(scales.precision())
        scales.draw(rng, effects)
        scales.overall.square = np.ones(1)
    expected = rng.standard_t(4.0, 200000)
    effects = rng.standard_normal(N) / np.sqrt(scales.precision())
    levels = [0.1, 0.25, 0.75, 0.9]
    assert np.allclose(np.quantile(effects, levels), np.quantile(expected, levels), atol=0.12)


def test_half_cauchy_finds_the_scale_of_many_effects() -> None:
    rng = np.random.default_rng(3)
    effects = 0.7 * rng.standard_normal(2000)
    scale, kept = HalfCauchy.start(0.1, 1, 0.1), []
    for _ in range(60):
        scale.draw(rng, np.array([(effects**2).sum()]), len(effects))
        kept.append(float(np.sqrt(scale.square[0])))
    assert abs(np.mean(kept[10:]) - 0.7) < 0.05
