"""The Hill curve: known values, its inverse and its derivatives."""

import numpy as np
import pytest

from models.pharmacology.hill import hill, hill_gradient, inverse_hill, occupancy


def test_known_values() -> None:
    assert hill(np.array(0.2), np.log(0.3), np.log(1.7), np.array(0.0)) == pytest.approx(
        0.665809, abs=1e-6
    )
    assert hill(np.array(1.1), np.log(2.0), np.log(0.8), np.array(0.0)) == pytest.approx(
        0.617339, abs=1e-6
    )


def test_dose_zero_is_exactly_the_vehicle() -> None:
    assert hill(np.array(0.0), np.array(1.0), np.array(0.2), np.array(0.3)) == 1.0
    assert np.isfinite(hill_gradient(np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2))).all()


def test_half_the_effect_at_the_ec50() -> None:
    assert occupancy(np.exp(np.array(-2.5)), np.array(-2.5), np.array(0.4)) == pytest.approx(0.5)


def test_inverse_undoes_the_curve() -> None:
    doses = np.geomspace(1e-3, 1e3, 25)
    parameters = (np.array(0.7), np.array(0.3), np.array(0.15))
    assert inverse_hill(hill(doses, *parameters), *parameters) == pytest.approx(doses, rel=1e-6)


def test_no_dose_goes_below_the_maximum_effect() -> None:
    assert np.isnan(inverse_hill(np.array(0.1), np.array(0.0), np.array(0.0), np.array(0.2)))
    assert np.isnan(inverse_hill(np.array(1.1), np.array(0.0), np.array(0.0), np.array(0.2)))
    assert np.isnan(inverse_hill(np.array(1.0), np.array(0.0), np.array(0.0), np.array(1.2)))


def test_gradient_agrees_with_differences() -> None:
    at = np.array([0.4, -0.2, 0.3])
    dose = np.array(0.9)
    for k in range(3):
        step = np.eye(3)[k] * 1e-6
        slope = (hill(dose, *(at + step)) - hill(dose, *(at - step))) / 2e-6
        assert hill_gradient(dose, *at)[k] == pytest.approx(slope, abs=1e-8)
