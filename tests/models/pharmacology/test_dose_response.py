"""Curves of a whole screen: recovery, coverage, robustness and what must not change them."""

import numpy as np
import pytest
import torch

from models.pharmacology.dose_response import SUMMARY_NAMES, CurveTable, fit_curves
from models.pharmacology.hill import hill
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import ABSENT, ScreenError, Wells

N_COMPOUNDS, N_LINES = 24, 12


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def simulated() -> SimulatedScreen:
    return simulate_screen(N_COMPOUNDS, N_LINES, 4, 0.06, seed=1)


@pytest.fixture(scope="module")
def wells(simulated: SimulatedScreen) -> Wells:
    return simulated.single_agents(3, seed=2)


@pytest.fixture(scope="module")
def curves(wells: Wells) -> CurveTable:
    return fit_curves(wells, N_COMPOUNDS, N_LINES)


def everywhere(sim: SimulatedScreen) -> tuple[np.ndarray, ...]:
    """Compound, cell line, dose and true viability at every block dose of every curve."""
    compound, line, rank = (
        table.ravel()
        for table in np.meshgrid(
            np.arange(len(sim.compounds)),
            np.arange(len(sim.cell_lines)),
            np.arange(sim.doses_um.shape[1]),
            indexing="ij",
        )
    )
    dose = sim.doses_um[compound, rank]
    at = (compound, line)
    return compound, line, dose, hill(dose, sim.log_c[at], sim.log_h[at], sim.emax[at])


def coverage(curves: CurveTable, sim: SimulatedScreen, chosen: np.ndarray) -> float:
    """Share of true viabilities inside the central 90 % of the draws."""
    compound, line, dose, truth = everywhere(sim)
    keep = chosen[compound, line]
    draws = curves.curve_draws(compound[keep], line[keep], dose[keep], 400, seed=3)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return float(np.mean((low <= truth[keep]) & (truth[keep] <= high)))


def test_true_curves_are_recovered(simulated: SimulatedScreen, curves: CurveTable) -> None:
    compound, line, dose, truth = everywhere(simulated)
    error = curves.viability(compound, line, dose) - truth
    assert np.sqrt(np.mean(error**2)) < 0.025
    assert abs(error.mean()) < 0.005


def test_intervals_cover(simulated: SimulatedScreen, curves: CurveTable) -> None:
    assert 0.86 < coverage(curves, simulated, curves.measured) < 0.95


def test_noise_is_learned(simulated: SimulatedScreen, curves: CurveTable) -> None:
    one = np.ones(1)
    assert curves.noise.sd(one) == pytest.approx(simulated.noise.sd(one), rel=0.15)
    assert curves.noise.source == "replicate wells"
    assert curves.misfit_sd < 0.03


def test_noise_is_learned_without_replicates(simulated: SimulatedScreen) -> None:
    curves = fit_curves(simulated.single_agents(1, seed=4), N_COMPOUNDS, N_LINES)
    assert curves.noise.source == "scatter around the single-agent curves"
    assert curves.noise.sd(np.ones(1)) == pytest.approx(0.06, rel=0.25)
    assert 0.83 < coverage(curves, simulated, curves.measured) < 0.96


def test_unmeasured_curves_are_flagged_and_wide(simulated: SimulatedScreen, wells: Wells) -> None:
    hidden = np.random.default_rng(0).random((N_COMPOUNDS, N_LINES)) < 0.25
    hidden[5] = True
    kept = wells.select(~hidden[wells.compounds[:, 0], wells.cell_line])
    curves = fit_curves(kept, N_COMPOUNDS, N_LINES)
    assert np.array_equal(curves.measured, ~hidden)
    spread = np.sqrt(curves.covariance[..., 0, 0])
    assert spread[hidden].min() > np.median(spread[~hidden])
    assert spread[5].min() > np.median(spread[hidden])
    partly = hidden.copy()
    partly[5] = False
    assert 0.75 < coverage(curves, simulated, partly) <= 1.0


def test_no_single_agents_at_all_gives_the_prior() -> None:
    none = np.full((2, 3), ABSENT, np.int64)
    curves = fit_curves(Wells(np.zeros(2, np.int64), none, np.zeros((2, 3)), np.ones(2)), 3, 2)
    assert not curves.measured.any()
    assert np.isfinite(curves.summary()).all()
    assert "assumed" in curves.noise.source


def test_one_dose_one_well_is_enough_to_fit() -> None:
    slots = np.array([[0, ABSENT, ABSENT]])
    one = Wells(np.zeros(1, np.int64), slots, np.array([[2.0, 0.0, 0.0]]), np.array([0.3]))
    curves = fit_curves(one, 1, 1)
    assert curves.viability(np.array(0), np.array(0), np.array(2.0)) == pytest.approx(0.3, abs=0.1)


def test_row_order_changes_nothing(wells: Wells, curves: CurveTable) -> None:
    order = np.random.default_rng(1).permutation(len(wells))
    again = fit_curves(wells.select(order), N_COMPOUNDS, N_LINES)
    assert np.array_equal(again.log_c, curves.log_c)
    assert np.array_equal(again.covariance, curves.covariance)


def test_units_scale_the_potency_and_nothing_else(wells: Wells, curves: CurveTable) -> None:
    nanomolar = Wells(wells.cell_line, wells.compounds, wells.doses_um * 1e3, wells.viability)
    again = fit_curves(nanomolar, N_COMPOUNDS, N_LINES)
    assert again.log_c == pytest.approx(curves.log_c + np.log(1e3), abs=1e-6)
    assert again.emax == pytest.approx(curves.emax, abs=1e-6)
    assert again.summary() == pytest.approx(curves.summary(), abs=1e-6)


def test_names_of_compounds_and_lines_do_not_matter(wells: Wells, curves: CurveTable) -> None:
    other = wells.compounds.copy()
    other[:, 0] = N_COMPOUNDS - 1 - other[:, 0]
    turned = Wells(N_LINES - 1 - wells.cell_line, other, wells.doses_um, wells.viability)
    again = fit_curves(turned, N_COMPOUNDS, N_LINES)
    assert again.log_c[::-1, ::-1] == pytest.approx(curves.log_c, abs=1e-5)


def test_bad_wells_do_not_bend_the_curves(simulated: SimulatedScreen, wells: Wells) -> None:
    rng = np.random.default_rng(5)
    spoilt = wells.viability.copy()
    spoilt[rng.random(len(spoilt)) < 0.02] = 2.0
    curves = fit_curves(
        Wells(wells.cell_line, wells.compounds, wells.doses_um, spoilt), N_COMPOUNDS, N_LINES
    )
    compound, line, dose, truth = everywhere(simulated)
    error = curves.viability(compound, line, dose) - truth
    assert np.sqrt(np.mean(error**2)) < 0.03


def test_a_draw_is_one_curve_whatever_is_asked(curves: CurveTable) -> None:
    compound, line = np.array([3, 3, 7]), np.array([1, 1, 0])
    dose = np.array([0.1, 4.0, 1.0])
    together = curves.curve_draws(compound, line, dose, 50, seed=9)
    alone = curves.curve_draws(compound[1:2], line[1:2], dose[1:2], 50, seed=9)
    assert np.array_equal(together[:, 1:2], alone)
    swapped = curves.curve_draws(compound[::-1], line[::-1], dose[::-1], 50, seed=9)
    assert np.array_equal(together, swapped[:, ::-1])
    again = curves.curve_draws(compound, line, np.zeros(3), 50, seed=9)
    assert np.all(again == 1.0)


def test_draws_of_one_curve_are_monotone(curves: CurveTable) -> None:
    dose = np.geomspace(1e-4, 1e4, 60)
    draws = curves.curve_draws(np.full(60, 2), np.full(60, 3), dose, 40, seed=0)
    steps = np.diff(draws, axis=1)
    assert np.all((steps <= 1e-12).all(axis=1) | (steps >= -1e-12).all(axis=1))


def test_summary_names_its_columns(curves: CurveTable) -> None:
    summary = curves.summary()
    assert summary.shape == (N_COMPOUNDS, N_LINES, len(SUMMARY_NAMES))
    assert np.isfinite(summary).all()
    mean = summary[..., SUMMARY_NAMES.index("mean_viability")]
    assert mean == pytest.approx(summary[..., :5].mean(-1))


def test_gradient_agrees_with_differences(curves: CurveTable) -> None:
    at = (np.array(4), np.array(2), np.array(0.7))
    step = 1e-6
    shifted = CurveTable(**{**vars(curves), "emax": curves.emax * np.exp(step)})
    slope = (shifted.viability(*at) - curves.viability(*at)) / step
    assert curves.gradient(*at)[2] == pytest.approx(slope, abs=1e-5)


def test_a_well_outside_the_tables_is_refused(wells: Wells) -> None:
    with pytest.raises(ScreenError, match="names compound 23 of 10"):
        fit_curves(wells, 10, N_LINES)
    with pytest.raises(ScreenError, match="names cell line 11 of 5"):
        fit_curves(wells, N_COMPOUNDS, 5)
