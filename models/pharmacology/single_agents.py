"""What single agents did at the doses of the combinations: the fitted level and the departure.

A score is an excess over fitted curves, so an error of a curve enters every block with that
compound in that line. Where the wells of the single agent lie above or below their own curve, the
curve is probably wrong there, and a model that is told so predicts the scores better.
"""

from __future__ import annotations

import numpy as np

from models.pharmacology.dose_response import CurveTable
from models.pharmacology.plate_noise import well_scales
from models.screen import FloatArray, Wells

POSITIONS = 4
"""Positions over a compound's combination doses, equally spaced on the logarithmic scale."""


def single_agent_responses(wells: Wells, curves: CurveTable) -> FloatArray:
    """``(n_compounds, n_cell_lines, 2 * POSITIONS)``: levels, then departures, as fractions.

    Level: viability of the fitted curve at each position. Departure: mean difference of measured
    single-agent wells from that curve around the position, 0 where there are none. The range of
    a compound is that of its doses in combinations, that of its single doses where it has none.
    """
    low, high = _ranges(wells, curves)
    share = np.linspace(0.0, 1.0, POSITIONS)
    compound, line = np.ogrid[: curves.shape[0], : curves.shape[1]]
    dose = np.exp(low[:, None] + (high - low)[:, None] * share)
    levels = curves.viability(compound[..., None], line[..., None], dose[:, None, :])
    return np.concatenate([levels, _departures(wells, curves, low, high)], axis=-1)


def _ranges(wells: Wells, curves: CurveTable) -> tuple[FloatArray, FloatArray]:
    """``(n_compounds,)`` logarithms of the lowest and highest combination dose."""
    low, high = np.full(curves.shape[0], np.inf), np.full(curves.shape[0], -np.inf)
    together = wells.n_compounds >= 2
    for column in range(wells.compounds.shape[1]):
        rows = together & (wells.doses_um[:, column] > 0)
        dose = np.log(wells.doses_um[rows, column])
        np.minimum.at(low, wells.compounds[rows, column], dose)
        np.maximum.at(high, wells.compounds[rows, column], dose)
    unknown = ~np.isfinite(low)
    return (
        np.where(unknown, curves.log_dose_low, low),
        np.where(unknown, curves.log_dose_high, high),
    )


def _departures(wells: Wells, curves: CurveTable, low: FloatArray, high: FloatArray) -> FloatArray:
    """Each well counts for the two positions that it lies between, by its distance from them and
    the inverse variance of its plate."""
    single = wells.select(wells.n_compounds == 1)
    compound, line, dose = single.compounds[:, 0], single.cell_line, single.doses_um[:, 0]
    rest = single.viability - curves.viability(compound, line, dose)
    weigh = well_scales(single) ** -2
    width = np.maximum(high - low, 1e-9)[compound]
    place = (np.log(dose) - low[compound]) / width * (POSITIONS - 1)
    shape = (*curves.shape, POSITIONS)
    total, weight = np.zeros(shape), np.zeros(shape)
    for position in range(POSITIONS):
        share = weigh * np.maximum(1.0 - np.abs(place - position), 0.0)
        np.add.at(total[..., position], (compound, line), share * rest)
        np.add.at(weight[..., position], (compound, line), share)
    return np.divide(total, weight, out=np.zeros(shape), where=weight > 1e-3)
