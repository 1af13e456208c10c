"""Levels and departures of single agents over the doses of the combinations."""

from __future__ import annotations

import numpy as np

from models.pharmacology.dose_response import fit_curves
from models.pharmacology.single_agents import POSITIONS, single_agent_responses
from models.screen import Wells

SINGLES = np.geomspace(0.01, 10.0, 7)
PAIRED = np.geomspace(0.1, 10.0, 4)


def wells(shift: float = 0.0) -> Wells:
    """Two compounds in one line; ``shift`` is added to the wells of compound 0 near 1 uM."""
    rows = []
    for compound in (0, 1):
        for dose in SINGLES:
            value = 1.0 / (1.0 + dose) + (shift if compound == 0 and abs(dose - 1) < 0.1 else 0.0)
            rows += [(compound, -1, dose, 0.0, value)] * 4
    rows += [(0, 1, float(dose), float(dose), 0.5) for dose in PAIRED]
    table = np.array(rows)
    compounds = np.column_stack([table[:, :2].astype(int), np.full(len(table), -1)])
    doses = np.column_stack([table[:, 2:4], np.zeros(len(table))])
    return Wells(np.zeros(len(table), np.int64), compounds, doses, table[:, 4])


def test_levels_are_those_of_the_fitted_curve_at_the_combination_doses() -> None:
    curves = fit_curves(wells(), 2, 1)
    levels = single_agent_responses(wells(), curves)[0, 0, :POSITIONS]
    assert np.allclose(levels, curves.viability(np.int64(0), np.int64(0), PAIRED), atol=1e-9)
    assert np.allclose(levels, 1.0 / (1.0 + PAIRED), atol=0.03)


def test_departures_are_the_mean_difference_of_wells_from_the_curve() -> None:
    data = wells(0.3)
    curves = fit_curves(data, 2, 1)
    departures = single_agent_responses(data, curves)[:, 0, POSITIONS:]
    at = np.flatnonzero((data.compounds[:, 0] == 0) & (data.n_compounds == 1))
    rest = data.viability[at] - curves.viability(
        data.compounds[at, 0], data.cell_line[at], data.doses_um[at, 0]
    )
    step = np.log(PAIRED[1] / PAIRED[0])
    for position, dose in enumerate(PAIRED):
        share = np.maximum(1 - np.abs(np.log(data.doses_um[at, 0] / dose)) / step, 0)
        assert np.isclose(departures[0, position], share @ rest / share.sum())
    assert departures[0, 1:3].max() > 0.05 > np.abs(departures[1]).max()


def test_a_compound_without_combinations_uses_its_single_doses() -> None:
    data = wells()
    alone = data.select(data.n_compounds == 1)
    curves = fit_curves(alone, 2, 1)
    levels = single_agent_responses(alone, curves)[0, 0, :POSITIONS]
    expected = curves.viability(np.int64(0), np.int64(0), np.geomspace(0.01, 10.0, POSITIONS))
    assert np.allclose(levels, expected)


def test_other_units_change_nothing() -> None:
    data = wells(0.1)
    scaled = Wells(data.cell_line, data.compounds, data.doses_um * 1000.0, data.viability)
    first = single_agent_responses(data, fit_curves(data, 2, 1))
    second = single_agent_responses(scaled, fit_curves(scaled, 2, 1))
    assert np.allclose(first, second, atol=1e-6)
