"""Doses on the grid of whole drops: the worked example, nearest of all, and what is refused."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.plates.dispensing import SnapRules, real_dose, snap_dose, snap_doses
from service.plates.labware import Destination, Dispenser, Stock
from service.plates.problems import PlateError

PLATE = Destination("384", 384, 50_000, 500, 0.005)
ECHO = Dispenser("Echo", 2.5, 10_000)
TEN = [Stock("Nutlin", 10, 60_000)]
BOTH = [*TEN, Stock("Nutlin", 0.1, 60_000)]


def test_the_worked_example() -> None:
    dose = snap_dose(1.0, TEN, PLATE, ECHO)
    assert (dose.drops, dose.volume_nl, dose.stock_mm) == (2, 5.0, 10)
    assert dose.real_um == pytest.approx(0.99990001, abs=1e-8)
    assert dose.error == pytest.approx(1e-4, rel=0.01)


def test_a_dose_that_needs_an_intermediate_stock() -> None:
    with pytest.raises(PlateError) as problem:
        snap_dose(0.03, TEN, PLATE, ECHO)
    words = str(problem.value)
    assert "Nutlin: 0.03 uM cannot be dispensed from 10 mM into 50000 nL" in words
    assert "the nearest is 1 x 2.5 nL of 10 mM, 0.5 uM, 16.7 times as much (allowed 10%)" in words
    assert "0.6 mM gives it in one drop" in words
    assert snap_dose(0.03, BOTH, PLATE, ECHO).stock_mm == 0.1
    assert snap_dose(0.03, BOTH, PLATE, ECHO).drops == 6


@given(st.floats(1e-4, 1e3))
def test_the_stock_that_the_words_name_gives_the_dose(nominal: float) -> None:
    try:
        snap_dose(nominal, TEN, PLATE, ECHO)
    except PlateError as problem:
        best = float(re.search(r"; ([\d.e+-]+) mM gives it in one drop", str(problem))[1])
        dose = snap_dose(nominal, [*TEN, Stock("Nutlin", best, 1)], PLATE, ECHO)
        assert dose.drops == 1
        assert dose.error < 0.006  # the words round to three digits


def test_a_dose_that_needs_too_much_vehicle() -> None:
    with pytest.raises(PlateError, match=r"needs 1010 nL, and 125 nL are allowed for each of 2"):
        snap_dose(198.0, TEN, PLATE, ECHO)
    with pytest.raises(PlateError, match="needs a stronger stock"):
        snap_dose(20_000.0, TEN, PLATE, ECHO)
    assert snap_dose(40.0, TEN, PLATE, ECHO, SnapRules(compounds=1)).volume_nl == 200


def test_a_well_without_room_for_a_drop() -> None:
    tight = Destination("tiny", 1536, 500, 3, 0.005)
    with pytest.raises(PlateError, match=r"less than a drop of 2.5 nL each. Raise the vehicle"):
        snap_dose(1.0, TEN, tight, ECHO)


@given(
    st.floats(0.01, 30),
    st.lists(st.sampled_from([10.0, 3.0, 1.0, 0.3, 0.1, 0.01]), min_size=1, unique=True),
    st.sampled_from([0.0, 100.0]),
)
def test_nothing_dispensable_is_nearer(nominal: float, levels: list[float], total: float) -> None:
    rules = SnapRules(tolerance=0.99, total_nl=total)
    stocks = [Stock("x", mm, 60_000) for mm in levels]
    grid = [
        real_dose(mm, drops * 2.5, 50_000, max(total, drops * 2.5))
        for mm in levels
        for drops in range(1, int(PLATE.room_nl / 2 / 2.5) + 1)
    ]
    nearest = min(abs(each - nominal) / nominal for each in grid)
    assume(nearest < 0.98)
    found = snap_dose(nominal, stocks, PLATE, ECHO, rules)
    assert found.error == pytest.approx(nearest, abs=1e-8)
    assert found.drops * 2.5 == found.volume_nl <= PLATE.room_nl / 2
    assert found.nominal_um == nominal


def test_a_full_well_dilutes_the_dose() -> None:
    dose = snap_dose(1.0, TEN, PLATE, ECHO, SnapRules(total_nl=250))
    assert dose.real_um == pytest.approx(10_000 * 5 / 50_250)


def test_equally_near_stocks_bring_the_least_vehicle() -> None:
    stocks = [Stock("x", mm, 1) for mm in (1.0, 10.0)]
    dose = snap_dose(10_000 * 5 / 50_250, stocks, PLATE, ECHO, SnapRules(total_nl=250))
    assert (dose.stock_mm, dose.volume_nl) == (10.0, 5.0)


def test_several_doses_keep_their_order() -> None:
    doses = (10.0, 0.1, 1.0)
    assert [each.nominal_um for each in snap_doses(doses, BOTH, PLATE, ECHO)] == list(doses)


def test_doses_that_fall_together_are_refused() -> None:
    with pytest.raises(PlateError, match=r"Nutlin: 1 uM and 1.05 uM fall together.*0.9999 uM"):
        snap_doses((1.0, 1.05), TEN, PLATE, ECHO)
    with pytest.raises(PlateError, match="fall together"):
        snap_doses((1.0, 1.0), TEN, PLATE, ECHO)


@pytest.mark.parametrize("dose", [0.0, -1.0, float("nan"), float("inf")])
def test_no_dose_at_all(dose: float) -> None:
    with pytest.raises(PlateError, match="cannot be dispensed"):
        snap_dose(dose, TEN, PLATE, ECHO)


def test_the_stocks_must_be_of_one_compound() -> None:
    with pytest.raises(PlateError, match="these are of none"):
        snap_dose(1.0, [], PLATE, ECHO)
    with pytest.raises(PlateError, match="these are of Nutlin, x"):
        snap_dose(1.0, [*TEN, Stock("x", 1, 1)], PLATE, ECHO)
    with pytest.raises(PlateError, match="DMSO has no stock"):
        snap_dose(1.0, [Stock("DMSO", 0, 1)], PLATE, ECHO)


@pytest.mark.parametrize(
    "rules", [{"tolerance": 0}, {"tolerance": 1}, {"compounds": 0}, {"total_nl": -1}]
)
def test_rules_that_cannot_be(rules) -> None:
    with pytest.raises(PlateError):
        SnapRules(**rules)
