"""References at dose pairs: values, gradients and where they are undefined."""

import numpy as np
import pytest

from models.pharmacology.curve_references import curve_reference
from models.pharmacology.dose_pairs import DosePairs
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.references import REFERENCES, loewe
from models.screen import ScreenError
from tests.models.pharmacology.test_zip_fits import block, independent, table

SD = np.full(16, 0.03)


def pairs() -> DosePairs:
    return block(independent())


def moved(curves: CurveTable, compound: int, parameter: int, by: float) -> CurveTable:
    """One parameter of one compound a little further."""
    log_c, log_h, emax = curves.log_c.copy(), curves.log_h.copy(), curves.emax.copy()
    (log_c, log_h, emax)[parameter][compound] += by if parameter < 2 else 0.0
    if parameter == 2:
        emax[compound] *= np.exp(by)
    return CurveTable(**{**vars(curves), "log_c": log_c, "log_h": log_h, "emax": emax})


@pytest.mark.parametrize("name", ["bliss", "hsa", "loewe", "none", "zip"])
def test_gradients_are_those_of_small_steps(name: str) -> None:
    curves, wells = table(), pairs()
    found = curve_reference(name, wells, curves, SD)
    use = found.defined
    for compound in (0, 1):
        for parameter in range(3):
            ends = []
            for by in (-1e-5, 1e-5):
                there = curve_reference(name, wells, moved(curves, compound, parameter, by), SD)
                ends.append(there.viability - there.observed(wells.viability))
            numeric = (ends[1] - ends[0]) / 2e-5
            analytic = found.gradient[:, compound, parameter]
            accuracy = 2e-3 if name == "zip" else 1e-6
            assert analytic[use] == pytest.approx(numeric[use], abs=accuracy)


def test_the_values_are_those_of_the_references() -> None:
    curves, wells = table(), pairs()
    doses = wells.doses_um
    by_hand = loewe(doses, curves.log_c[:, 0], curves.log_h[:, 0], curves.emax[:, 0])
    assert np.array_equal(
        curve_reference("loewe", wells, curves, SD).viability, by_hand, equal_nan=True
    )
    for name in ("bliss", "hsa", "none", "zip"):
        found = curve_reference(name, wells, curves, SD)
        assert np.array_equal(found.viability, REFERENCES[name](found.single))
        assert found.defined.all()


def test_loewe_beyond_the_weaker_maximum_is_undefined_and_moves_nothing() -> None:
    found = curve_reference("loewe", pairs(), table(), SD)
    assert 0 < (~found.defined).sum() < 16
    assert not found.gradient[~found.defined].any()
    assert not found.slope[~found.defined].any()
    kept = found.select(found.defined)
    assert kept.defined.all()
    assert kept.slope.sum(axis=1) == pytest.approx(1.0)


def test_only_zip_replaces_the_wells() -> None:
    wells = pairs()
    shaken = wells.viability + 0.05 * np.random.default_rng(1).standard_normal(16)
    wells = DosePairs(**{**vars(wells), "viability": shaken})
    weight = np.full(16, 1 / 16)
    for name in ("bliss", "none", "hsa"):
        found = curve_reference(name, wells, table(), SD)
        assert found.observed(shaken) is shaken
        assert found.on_wells(weight) is weight
        assert found.observed_variance(weight) is weight
    smooth = curve_reference("zip", wells, table(), SD)
    assert np.std(smooth.observed(shaken) - shaken) > 0.005
    assert smooth.on_wells(weight).sum() != pytest.approx(1.0, abs=1e-6)
    assert np.all(smooth.observed_variance(np.ones(16)) < 1.0)
    with pytest.raises(ScreenError, match="cannot be taken apart"):
        smooth.select(np.ones(16, bool))


def test_no_effect_has_no_error_from_curves() -> None:
    found = curve_reference("none", pairs(), table(), SD)
    assert not found.gradient.any()
    assert not found.slope.any()


def test_unknown_references_are_named() -> None:
    with pytest.raises(ScreenError, match="unknown reference 'bli'; known are bliss, hsa"):
        curve_reference("bli", pairs(), table(), SD)
