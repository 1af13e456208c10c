"""Growth-rate metrics against their formulas, and what wells are worth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.dynamics.growth_rates import division_and_death, gr50_of, gr_value, static_toxic_gr
from models.dynamics.well_checks import discoveries, expected_reduction
from models.screen import ScreenError


def test_gr_of_no_effect_arrest_and_loss() -> None:
    start, control = np.array([1.0]), np.array([8.0])
    assert gr_value(control, start, control) == pytest.approx(1.0)
    assert gr_value(start, start, control) == pytest.approx(0.0)
    # Two doublings of three: 2^(2/3) - 1.
    assert gr_value(np.array([4.0]), start, control) == pytest.approx(2 ** (2 / 3) - 1)
    assert gr_value(np.array([0.5]), start, control) == pytest.approx(2 ** (-1 / 3) - 1)


def test_gr_does_not_depend_on_the_length_of_the_experiment() -> None:
    hours, rate, control = np.array([24.0, 72.0]), 0.015, 0.04
    one = np.ones(2)
    found = gr_value(np.exp(rate * hours), one, np.exp(control * hours))
    np.testing.assert_allclose(found, 2 ** (rate / control) - 1)


@pytest.mark.parametrize("death", [0.0, 0.01, 0.04, 0.07])
def test_division_and_death_are_those_that_made_the_counts(death: float) -> None:
    division, hours, start = 0.04, 48.0, 3.0
    net = division - death
    final = start * math.exp(net * hours)
    died = death * start * (math.expm1(net * hours) / net if net else hours)
    found = division_and_death(np.array([final]), np.array([start]), np.array([died]), hours)
    assert found[0] == pytest.approx(division, rel=1e-9)
    assert found[1] == pytest.approx(death, rel=1e-9, abs=1e-15)


def test_static_and_toxic_take_apart_what_a_drug_does() -> None:
    hours, start = 48.0, np.array([1.0])

    def counts(division: float, death: float) -> tuple[np.ndarray, np.ndarray]:
        net = division - death
        return np.array([math.exp(net * hours)]), np.array([death * math.expm1(net * hours) / net])

    control, gone = counts(0.04, 0.002)
    for division, death in ((0.02, 0.002), (0.04, 0.03)):
        final, died = counts(division, death)
        static, toxic = static_toxic_gr(final, start, died, control, gone, hours)
        assert static[0] == pytest.approx(2 ** (division / 0.04) - 1)
        # Deaths a day in powers of 2: a rate of ln 2 a day counts as 1.
        assert toxic[0] == pytest.approx(2 ** ((0.002 - death) * 24 / math.log(2)) - 1, abs=1e-12)


def test_static_and_toxic_as_published() -> None:
    """By hand with the published arithmetic, in log2 and days (compute_gr_static_toxic of gr50)."""
    start, hours = np.array([1000.0]), 72.0
    static, toxic = static_toxic_gr(
        np.array([2000.0]), start, np.array([500.0]), np.array([4000.0]), np.array([100.0]), hours
    )
    ratio, ratio_control = 500 / 1000, 100 / 3000
    assert static[0] == pytest.approx(2 ** ((1 + ratio) * 1 / ((1 + ratio_control) * 2)) - 1)
    assert toxic[0] == pytest.approx(2 ** ((ratio_control * 2 - ratio * 1) / 3) - 1)


def test_gr50_is_where_the_curve_crosses() -> None:
    doses = np.array([1.0, 4.0, 16.0])
    curves = np.array([[0.9, 0.7, 0.3], [0.9, 0.8, 0.6], [0.4, 0.2, 0.1], [0.9, 0.5, 0.2]])
    np.testing.assert_allclose(gr50_of(doses, curves), [8.0, np.inf, 1.0, 4.0])
    with pytest.raises(ScreenError, match="ascend"):
        gr50_of(doses[::-1], curves)


def test_metrics_refuse_what_has_no_meaning() -> None:
    one = np.ones(1)
    with pytest.raises(ScreenError, match="not grown"):
        gr_value(one, one, one)
    with pytest.raises(ScreenError, match="above 0"):
        gr_value(0 * one, one, 2 * one)
    with pytest.raises(ScreenError, match="died"):
        division_and_death(one, one, -one, 24.0)


def test_expected_reduction_of_a_linear_normal_pair() -> None:
    """Four readings q + noise of sd 2 leave 1 / (1 + 4 / 4) of the variance of q ~ N(0, 1)."""
    rng = np.random.default_rng(0)
    quantity = rng.normal(size=1500)
    readings = quantity[:, None] + 2 * rng.normal(size=(1500, 4))
    assert expected_reduction(quantity, readings) == pytest.approx(0.5, abs=0.06)


def test_readings_that_know_nothing_are_worth_nothing() -> None:
    rng = np.random.default_rng(1)
    assert expected_reduction(rng.normal(size=400), rng.normal(size=(400, 40))) < 0.01
    with pytest.raises(ScreenError, match="known exactly"):
        expected_reduction(np.ones(100), rng.normal(size=(100, 2)))


def test_discoveries_by_hand() -> None:
    p = np.array([0.9, 0.001, 0.03, 0.5, 0.02])
    assert discoveries(p, 0.05).tolist() == [False, True, True, False, True]
    assert discoveries(p, 0.01).tolist() == [False, True, False, False, False]
    assert not discoveries(np.full(5, 0.5), 0.1).any()
