"""Surfaces with interaction parameters: golden numbers, limits and symmetries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.pharmacology.hill import hill
from models.pharmacology.references import bliss
from models.pharmacology.surfaces import (
    braid,
    effective_dose,
    musyc,
    musyc_beta,
    musyc_many,
)
from models.screen import ScreenError

LOG_C, LOG_H = np.log([0.3, 2.0]), np.log([1.7, 0.8])
DOSES, EMAX = np.array([0.2, 1.1]), np.array([0.3, 0.5])
LOG_ALPHA, LOG_GAMMA = np.log([3.0, 0.5]), np.log([1.2, 0.7])
FREE = np.zeros(2)

dose = st.floats(1e-3, 1e3)
drug = st.tuples(dose, st.floats(-5.0, 5.0), st.floats(-0.7, 1.2), st.floats(0.0, 0.95))
small = st.floats(-2.0, 2.0)


def columns(*drugs: tuple[float, ...]) -> list[np.ndarray]:
    return list(np.array(drugs).T)


def test_golden_numbers() -> None:
    assert braid(DOSES, LOG_C, LOG_H, EMAX, 0.1, 1.5) == pytest.approx(0.485793018, abs=5e-10)
    value = musyc(DOSES, LOG_C, LOG_H, EMAX, 0.1, LOG_ALPHA, LOG_GAMMA)
    assert value == pytest.approx(0.612592208, abs=5e-10)
    alpha = np.log([4.0, 4.0])
    value = musyc(np.array([0.2, 0.5]), LOG_C, LOG_H, FREE, 0.0, alpha, FREE)
    assert value == pytest.approx(0.379648712, abs=5e-10)


def test_musyc_solves_its_four_rate_equations() -> None:
    x, h = DOSES / np.exp(LOG_C), np.exp(LOG_H)
    alpha, gamma = np.exp(LOG_ALPHA), np.exp(LOG_GAMMA)
    r1, r2 = x**h
    b2 = (alpha[0] * x[1]) ** (gamma[0] * h[1])
    b1 = (alpha[1] * x[0]) ** (gamma[1] * h[0])
    rates = np.array([[0, r1, r2, 0], [1, 0, 0, b2], [1, 0, 0, b1], [0, 1, 1, 0]])
    flow = rates.T - np.diag(rates.sum(axis=1))
    system = np.vstack([flow[:3], np.ones(4)])
    share = np.linalg.solve(system, [0, 0, 0, 1.0])
    expected = share @ [1.0, 0.3, 0.5, 0.1]
    value = musyc(DOSES, LOG_C, LOG_H, EMAX, 0.1, LOG_ALPHA, LOG_GAMMA)
    assert value == pytest.approx(expected, abs=1e-14)


def test_musyc_of_many_is_musyc_of_two() -> None:
    alpha, gamma = np.zeros((4, 2)), np.zeros((4, 2))
    alpha[1, 1], alpha[2, 0] = LOG_ALPHA
    gamma[1, 1], gamma[2, 0] = LOG_GAMMA
    many = musyc_many(DOSES, LOG_C, LOG_H, np.array([1.0, 0.3, 0.5, 0.1]), alpha, gamma)
    two = musyc(DOSES, LOG_C, LOG_H, EMAX, 0.1, LOG_ALPHA, LOG_GAMMA)
    assert many == pytest.approx(two, abs=1e-14)


def test_three_independent_compounds_are_bliss_in_musyc_and_effective_dose() -> None:
    log_c, log_h, emax = np.log([0.3, 2.0, 1.0]), np.log([1.7, 0.8, 2.5]), np.array([0.3, 0.5, 0.7])
    doses = np.array([0.2, 1.1, 0.9])
    expected = bliss(hill(doses, log_c, log_h, emax))
    states = np.arange(8)[:, None] >> np.arange(3) & 1
    effect = np.where(states, emax, 1.0).prod(axis=1)
    none = np.zeros((8, 3))
    assert musyc_many(doses, log_c, log_h, effect, none, none) == pytest.approx(expected, abs=1e-14)
    free = effective_dose(doses, log_c, log_h, emax, np.zeros((3, 3)))
    assert free == pytest.approx(expected, abs=1e-14)


def test_three_compounds_with_the_third_absent_are_two() -> None:
    log_c, log_h, emax = np.append(LOG_C, 0.4), np.append(LOG_H, 0.1), np.append(EMAX, 0.2)
    pull = np.array([[0.0, -0.4, 3.0], [1.5, 0.0, -0.2], [0.3, 0.3, 0.0]])
    three = effective_dose(np.append(DOSES, 0.0), log_c, log_h, emax, pull)
    two = effective_dose(DOSES, LOG_C, LOG_H, EMAX, pull[:2, :2])
    assert three == pytest.approx(two, abs=1e-11)


@given(drug, drug)
def test_musyc_without_interaction_is_bliss(a: tuple, b: tuple) -> None:
    doses, log_c, log_h, emax = columns(a, b)
    value = musyc(doses, log_c, log_h, emax, emax.prod(), FREE, FREE)
    assert value == pytest.approx(bliss(hill(doses, log_c, log_h, emax)), abs=1e-12)


@given(drug, st.floats(0.01, 0.99))
def test_braid_of_a_drug_with_itself_is_its_curve(a: tuple, share: float) -> None:
    d, log_c, log_h, emax = a
    doses = np.array([d * share, d * (1 - share)])
    twice = [np.full(2, v) for v in (log_c, log_h, emax)]
    whole = hill(np.array(d), np.array(log_c), np.array(log_h), np.array(emax))
    assert braid(doses, *twice, emax, 0.0) == pytest.approx(whole, abs=1e-9)


@given(drug, drug, small, small, small, small, st.floats(0.0, 0.9), st.floats(-1.9, 50.0))
def test_swapping_the_compounds_changes_no_bit(
    a: tuple, b: tuple, a1: float, a2: float, g1: float, g2: float, e3: float, kappa: float
) -> None:
    one, two = columns(a, b), columns(b, a)
    low = min(a[3], b[3])
    assert braid(*one, low, kappa) == braid(*two, low, kappa)
    alpha, gamma = np.array([a1, a2]), np.array([g1, g2])
    assert musyc(*one, e3, alpha, gamma) == musyc(*two, e3, alpha[::-1], gamma[::-1])
    pull = np.array([[0.0, np.tanh(a1)], [g1 + 1.5, 0.0]])
    assert effective_dose(*one, pull) == effective_dose(*two, pull[::-1, ::-1])


@given(drug, drug, small, small, st.floats(0.0, 0.9), st.floats(1e-3, 1e3))
def test_units_do_not_matter(
    a: tuple, b: tuple, alpha: float, gamma: float, e3: float, factor: float
) -> None:
    doses, log_c, log_h, emax = columns(a, b)
    other = (doses * factor, log_c + np.log(factor), log_h, emax)
    low, pull = emax.min(), np.array([[0.0, alpha / 3], [gamma / 3, 0.0]])
    pair = np.array([alpha, -alpha]), np.array([gamma, -gamma]) / 4
    for surface in (
        lambda *drugs: braid(*drugs, low, alpha + 1.0),
        lambda *drugs: musyc(*drugs, e3, *pair),
        lambda *drugs: effective_dose(*drugs, pull),
    ):
        assert surface(doses, log_c, log_h, emax) == pytest.approx(surface(*other), abs=1e-9)


@given(drug, drug, small, small, st.floats(0.0, 0.9))
def test_dose_zero_leaves_the_single_curve(
    a: tuple, b: tuple, alpha: float, gamma: float, e3: float
) -> None:
    doses, log_c, log_h, emax = columns(a, b)
    doses[1] = 0.0
    alone = hill(doses, log_c, log_h, emax)[0]
    pair = np.array([alpha, -alpha]), np.array([gamma, -gamma])
    pull = np.array([[0.0, -0.5], [2.0, 0.0]])
    assert braid(doses, log_c, log_h, emax, emax.min(), 2.0) == pytest.approx(alone, abs=1e-12)
    assert musyc(doses, log_c, log_h, emax, e3, *pair) == pytest.approx(alone, abs=1e-12)
    assert effective_dose(doses, log_c, log_h, emax, pull) == pytest.approx(alone, abs=1e-12)


@given(drug, drug, st.floats(-0.95, 5.0), st.floats(-0.95, 5.0))
def test_effective_doses_solve_their_equations(a: tuple, b: tuple, p: float, q: float) -> None:
    """The closed form of two compounds is where the damped fixed point of many ends."""
    doses, log_c, log_h, emax = columns(a, b)
    pull = np.array([[0.0, p], [q, 0.0]])
    two = effective_dose(doses, log_c, log_h, emax, pull)
    wide = np.zeros((3, 3))
    wide[:2, :2] = pull
    ghost = (np.append(doses, 0.0), np.append(log_c, 0.0), np.append(log_h, 0.0))
    three = effective_dose(*ghost, np.append(emax, 0.5), wide)
    assert two == pytest.approx(three, abs=1e-8)


def test_synergy_lowers_viability_in_all_three() -> None:
    base = (DOSES, LOG_C, LOG_H, EMAX)
    assert braid(*base, 0.3, 2.0) < braid(*base, 0.3, 0.0) < braid(*base, 0.3, -1.0)
    assert musyc(*base, 0.1, np.log([5.0, 5.0]), FREE) < musyc(*base, 0.1, FREE, FREE)
    half = np.full((2, 2), 0.5)
    assert effective_dose(*base, -half) < effective_dose(*base, 0 * half)
    assert effective_dose(*base, 0 * half) < effective_dose(*base, half)


def test_extreme_rates_stay_finite() -> None:
    log_h = np.log([8.0, 8.0])
    value = musyc(
        np.array([1e9, 1e9]), FREE, log_h, EMAX, 0.1, np.log([1e6, 1e6]), np.log([3.0, 3.0])
    )
    assert value == pytest.approx(0.1, abs=1e-12)


def test_where_a_surface_is_undefined_it_is_nan() -> None:
    assert np.isnan(braid(DOSES, LOG_C, LOG_H, np.array([0.3, 1.2]), 0.3, 0.0))
    assert np.isnan(braid(DOSES, LOG_C, LOG_H, EMAX, 0.4, 0.0))  # E3 short of E1
    assert np.isnan(braid(DOSES, LOG_C, LOG_H, EMAX, 0.3, -2.0))
    pull = np.array([[0.0, -1.0], [0.0, 0.0]])
    assert np.isnan(effective_dose(DOSES, LOG_C, LOG_H, EMAX, pull))


def test_wrong_numbers_of_compounds_are_refused() -> None:
    three = (np.ones(3), np.zeros(3), np.zeros(3), np.full(3, 0.5))
    with pytest.raises(ScreenError, match="BRAID is defined for two compounds, not 3"):
        braid(*three, 0.5, 0.0)
    with pytest.raises(ScreenError, match="3 compounds have 8 states"):
        musyc_many(*three[:3], np.ones(4), np.zeros((4, 3)), np.zeros((4, 3)))


def test_beta_is_the_extra_efficacy_over_the_stronger_compound() -> None:
    assert musyc_beta(1.0, EMAX, np.array(0.1)) == pytest.approx(0.2 / 0.7)
    assert np.isnan(musyc_beta(1.0, np.array([1.0, 1.1]), np.array(0.5)))
