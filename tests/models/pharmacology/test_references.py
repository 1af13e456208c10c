"""References of no interaction: golden numbers and the properties that define them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from models.pharmacology.hill import hill, inverse_hill
from models.pharmacology.references import (
    REFERENCES,
    bliss,
    combination_index,
    hsa,
    loewe,
    untreated,
)
from models.screen import ScreenError

# stack report, section 4.5
LOG_C = np.log([0.3, 2.0])
LOG_H = np.log([1.7, 0.8])
EMAX = np.array([0.0, 0.0])
DOSES = np.array([0.2, 1.1])

doses = st.floats(1e-3, 1e3)
potency = st.floats(-5.0, 5.0)
slope = st.floats(-0.7, 1.2)
efficacy = st.floats(0.0, 0.9)
drug = st.tuples(doses, potency, slope, efficacy)


def columns(*drugs: tuple[float, ...]) -> list[np.ndarray]:
    """Drugs as the four arguments of ``loewe``, one column each."""
    return list(np.array(drugs).T)


def test_golden_numbers() -> None:
    single = hill(DOSES, LOG_C, LOG_H, EMAX)
    assert single == pytest.approx([0.665809, 0.617339], abs=1e-6)
    assert bliss(single) == pytest.approx(0.411030, abs=1e-6)
    assert hsa(single) == pytest.approx(0.617339, abs=1e-6)
    assert loewe(DOSES, LOG_C, LOG_H, EMAX) == pytest.approx(0.444220, abs=1e-6)


def test_loewe_with_slopes_of_one_has_a_closed_form() -> None:
    assert loewe(DOSES, LOG_C, np.zeros(2), EMAX) == pytest.approx(0.451127819549, abs=1e-11)


def test_three_compounds() -> None:
    assert bliss(np.array([0.5, 0.4, 0.3])) == pytest.approx(0.06)
    assert hsa(np.array([0.5, 0.4, 0.3])) == 0.3
    thirds = loewe(np.full(3, 0.1), np.full(3, -1.0), np.full(3, 0.4), np.full(3, 0.1))
    whole = hill(np.array(0.3), np.array(-1.0), np.array(0.4), np.array(0.1))
    assert thirds == pytest.approx(whole, abs=1e-12)


def test_loewe_ends_at_the_weaker_compounds_maximum() -> None:
    weak = (1.0, 0.0, 0.0, 0.6)
    strong = (100.0, 0.0, 0.0, 0.0)
    assert np.isnan(loewe(*columns(weak, strong)))
    assert np.isfinite(loewe(*columns(weak, (0.1, 0.0, 0.0, 0.0))))


def test_loewe_is_undefined_with_a_compound_that_does_not_inhibit() -> None:
    assert np.isnan(loewe(*columns((1.0, 0.0, 0.0, 1.1), (1.0, 0.0, 0.0, 0.2))))


def test_nothing_present_is_the_vehicle() -> None:
    assert loewe(np.zeros(2), LOG_C, LOG_H, EMAX) == 1.0


@given(drug, drug)
def test_order_of_the_compounds_does_not_matter(a: tuple, b: tuple) -> None:
    one, two = loewe(*columns(a, b)), loewe(*columns(b, a))
    assert one == two or (np.isnan(one) and np.isnan(two))
    single = hill(*columns(a, b))
    assert bliss(single) == bliss(single[::-1])
    assert hsa(single) == hsa(single[::-1])


@given(drug, drug, st.floats(1e-3, 1e3))
def test_units_do_not_matter(a: tuple, b: tuple, factor: float) -> None:
    dose, log_c, log_h, emax = columns(a, b)
    one = loewe(dose, log_c, log_h, emax)
    two = loewe(dose * factor, log_c + np.log(factor), log_h, emax)
    if np.isfinite(one) and np.isfinite(two):
        assert one == pytest.approx(two, abs=1e-9)


@given(drug, drug)
def test_dose_zero_leaves_the_single_curve(a: tuple, b: tuple) -> None:
    dose, log_c, log_h, emax = columns(a, b)
    dose[1] = 0.0
    single = hill(dose, log_c, log_h, emax)
    for reference in (loewe(dose, log_c, log_h, emax), bliss(single), hsa(single)):
        assert reference == single[0]


@given(drug, st.floats(0.01, 0.99))
def test_a_drug_with_itself_has_no_loewe_excess(a: tuple, share: float) -> None:
    dose, log_c, log_h, emax = a
    parts = loewe(*columns((dose * share, *a[1:]), (dose * (1 - share), *a[1:])))
    whole = hill(np.array(dose), np.array(log_c), np.array(log_h), np.array(emax))
    assert parts == pytest.approx(whole, abs=1e-9)


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_hsa_excess_is_at_least_bliss_excess(one: float, two: float) -> None:
    single = np.array([one, two])
    assert hsa(single) >= bliss(single)


@settings(max_examples=40)
@given(drug, drug, drug)
def test_loewe_is_where_the_sum_of_equivalent_doses_is_one(a: tuple, b: tuple, c: tuple) -> None:
    dose, log_c, log_h, emax = columns(a, b, c)
    floor = emax.max()

    def above(z: float) -> float:
        level = floor + (1.0 - floor) / (1.0 + np.exp(z))
        return float((dose / inverse_hill(np.array(level), log_c, log_h, emax)).sum()) - 1.0

    value = loewe(dose, log_c, log_h, emax)
    if above(-20.0) > 0.0 > above(20.0):
        z = brentq(above, -20.0, 20.0, xtol=1e-13)
        assert value == pytest.approx(floor + (1.0 - floor) / (1.0 + np.exp(z)), abs=1e-9)
    turned = loewe(*columns(c, a, b))
    assert value == pytest.approx(turned, abs=1e-12, nan_ok=True)


@given(drug, drug)
def test_the_combination_index_is_one_at_the_loewe_reference(a: tuple, b: tuple) -> None:
    dose, log_c, log_h, emax = columns(a, b)
    level = loewe(dose, log_c, log_h, emax)
    # Close to either end of the scale the inverse of a curve loses the digits of its argument.
    if np.isfinite(level) and emax.max() + 1e-4 < level < 1.0 - 1e-4:
        index = combination_index(dose, log_c, log_h, emax, level)
        assert index == pytest.approx(1.0, abs=1e-6)
        assert combination_index(dose, log_c, log_h, emax, level - 5e-5) < index
        swapped = combination_index(*columns(b, a), level)
        assert swapped == index


def test_the_combination_index_is_undefined_out_of_reach() -> None:
    partial = np.array([0.2, 0.6])
    index = [combination_index(DOSES, LOG_C, LOG_H, partial, np.array(e)) for e in (0.5, 0.6, 1.0)]
    assert np.all(np.isnan(index))
    alone = combination_index(np.array([0.2, 0.0]), LOG_C, LOG_H, partial, np.array(0.5))
    assert np.isfinite(alone)
    assert np.isnan(combination_index(np.zeros(2), LOG_C, LOG_H, partial, np.array(0.7)))


def test_references_by_name() -> None:
    single = np.array([[0.5, 0.4], [1.0, 0.3]])
    assert np.array_equal(REFERENCES["zip"](single), bliss(single))
    assert np.array_equal(REFERENCES["none"](single), untreated(single))
    assert np.array_equal(untreated(single), np.ones(2))
    with pytest.raises(ScreenError, match="needs whole single-agent curves"):
        REFERENCES["loewe"](single)
