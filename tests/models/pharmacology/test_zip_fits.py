"""ZIP: no delta without interaction, what moves the fit, symmetry."""

import numpy as np
import pytest

from models.pharmacology.dose_pairs import DosePairs
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.hill import hill
from models.pharmacology.noise import NoiseModel
from models.pharmacology.references import bliss
from models.pharmacology.zip_fits import ZipFit, fit_zip
from models.screen import FloatArray

LOG_C, LOG_H, EMAX = np.log([0.3, 2.0]), np.log([1.7, 0.8]), np.array([0.1, 0.3])
ONE, TWO = np.array([0.05, 0.2, 0.6, 2.0]), np.array([0.3, 1.0, 4.0, 12.0])


def table(log_c: FloatArray = LOG_C, log_h: FloatArray = LOG_H) -> CurveTable:
    """Two compounds in one line."""
    return CurveTable(
        log_c=log_c[:, None],
        log_h=log_h[:, None],
        emax=EMAX[:, None],
        covariance=np.tile(0.01 * np.eye(3), (2, 1, 1, 1)),
        measured=np.ones((2, 1), bool),
        log_dose_low=np.log([0.05, 0.3]),
        log_dose_high=np.log([2.0, 12.0]),
        noise=NoiseModel(0.03, 0.0, "test"),
        misfit_sd=0.0,
    )


def block(viability: FloatArray, one: FloatArray = ONE, two: FloatArray = TWO) -> DosePairs:
    """One block, first compound slowest."""
    doses = np.stack(np.meshgrid(one, two, indexing="ij"), axis=-1).reshape(-1, 2)
    t = len(doses)
    zero = np.zeros(t, np.int64)
    compounds = np.tile([0, 1], (t, 1))
    return DosePairs(compounds, zero, doses, viability.ravel(), zero + 1, zero, np.array([0]))


def independent(one: FloatArray = ONE, two: FloatArray = TWO) -> FloatArray:
    doses = np.stack(np.meshgrid(one, two, indexing="ij"), axis=-1)
    return bliss(hill(doses, LOG_C, LOG_H, EMAX))


def fitted(viability: FloatArray, curves: CurveTable | None = None) -> ZipFit:
    return fit_zip(block(viability), curves or table(), np.full(viability.size, 0.03))


def synergistic() -> FloatArray:
    doses = np.stack(np.meshgrid(ONE, TWO, indexing="ij"), axis=-1)
    return np.asarray(bliss(hill(doses, LOG_C - 0.8, LOG_H, EMAX)))


def test_independent_data_have_no_delta() -> None:
    viability = independent()
    assert fitted(viability).viability == pytest.approx(viability.ravel(), abs=1e-9)


def test_a_shift_in_potency_is_followed() -> None:
    viability = synergistic()
    fit = fitted(viability).viability
    assert np.max(viability - independent()) < 0
    assert fit == pytest.approx(viability.ravel(), abs=0.03)


def test_a_lonely_wild_well_is_smoothed() -> None:
    viability = independent()
    viability[1, 2] += 0.3
    fit = fitted(viability).viability.reshape(4, 4)
    assert 0.0 < fit[1, 2] - independent()[1, 2] < 0.25


def test_swapping_the_compounds_changes_no_bit() -> None:
    viability = synergistic() + 0.02 * np.random.default_rng(0).standard_normal((4, 4))
    one = fitted(viability).viability.reshape(4, 4)
    curves = table()
    turned = CurveTable(
        **{
            **vars(curves),
            **{k: getattr(curves, k)[::-1].copy() for k in ("log_c", "log_h", "emax")},
        }
    )
    swapped = block(viability.T.copy(), TWO, ONE)
    two = fit_zip(swapped, turned, np.full(16, 0.03)).viability.reshape(4, 4)
    assert np.array_equal(one, two.T)


def test_units_do_not_matter() -> None:
    viability = synergistic()
    one = fitted(viability).viability
    shifted = table(LOG_C + np.log(1e3))
    two = fit_zip(block(viability, ONE * 1e3, TWO * 1e3), shifted, np.full(16, 0.03)).viability
    assert one == pytest.approx(two, abs=1e-9)


def test_the_answer_to_wells_is_that_of_refitting() -> None:
    """The hat matrix neglects curvature, so the check is near a surface that fits well."""
    viability = synergistic()
    fit = fitted(viability)
    for cell in (0, 6, 15):
        moved = viability.copy()
        moved.ravel()[cell] += 1e-3
        numeric = (fitted(moved).viability - fit.viability) / 1e-3
        one_at_a_time = [fit.pull_back(np.eye(16)[t])[cell] for t in range(16)]
        assert np.asarray(one_at_a_time) == pytest.approx(numeric, abs=0.05)


def test_variance_is_that_of_the_answers() -> None:
    fit = fitted(synergistic())
    variance = np.linspace(0.5, 2.0, 16)
    by_hand = [(fit.pull_back(np.eye(16)[t]) ** 2 * variance).sum() for t in range(16)]
    assert fit.variance(variance) == pytest.approx(by_hand)


@pytest.mark.parametrize(("compound", "parameter"), [(0, 0), (1, 0), (0, 1), (1, 2)])
def test_the_answer_to_curves_is_that_of_refitting(compound: int, parameter: int) -> None:
    viability = independent()
    fit = fitted(viability)
    shift = np.zeros((3, 2))
    shift[parameter, compound] = 1e-4
    curves = table(LOG_C + shift[0], LOG_H + shift[1])
    curves = CurveTable(**{**vars(curves), "emax": curves.emax * np.exp(shift[2])[:, None]})
    numeric = (fitted(viability, curves).viability - fit.viability) / 1e-4
    assert fit.by_curve[:, compound, parameter] == pytest.approx(numeric, abs=2e-3)


def test_rows_of_one_dose_lean_on_the_single_curve() -> None:
    viability = independent(ONE[:1], TWO[:1]) - 0.1
    fit = fit_zip(block(viability, ONE[:1], TWO[:1]), table(), np.full(1, 0.03))
    assert viability[0, 0] < fit.viability[0] < viability[0, 0] + 0.1


def test_no_dose_pairs_give_nothing() -> None:
    empty = block(np.empty(0), np.empty(0), np.empty(0))
    nothing = DosePairs(**{**vars(empty), "first": np.empty(0, np.int64)})
    assert fit_zip(nothing, table(), np.empty(0)).viability.shape == (0,)
