"""Replicate wells: which wells repeat one treatment, and how much they scatter.

The standard deviation of one well around the true viability ``E`` is
``sqrt(additive^2 + (proportional * E)^2)``: bright wells scatter in proportion to their signal,
dead wells by the reader's floor. It is learned from replicates by medians, so that a few bad
wells neither raise nor lower it. Where the controls of plates tell which scatter more
(:mod:`models.pharmacology.plate_noise`), it is the noise of a usual plate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from models.pharmacology.plate_noise import well_scales
from models.screen import MAX_COMPOUNDS, BoolArray, FloatArray, IntArray, Wells

ASSUMED_SD = 0.05
"""Well noise that is assumed, and said to be, when nothing in a screen repeats."""

STUDENT_DOF = 4.0
"""Degrees of freedom of the Student-t weights that make means and fits robust."""

_SMALLEST_SD = 1e-3
_MAD_TO_SD = 1.4826
_RESIDUALS_PER_BIN = 40
_MOST_BINS = 12


@dataclass(frozen=True)
class NoiseModel:
    """Noise of one well, as a fraction of the vehicle control. ``source`` says how it is known."""

    additive_sd: float
    proportional_sd: float
    source: str

    def sd(self, viability: FloatArray) -> FloatArray:
        """Standard deviation of a well whose true viability is given; same shape."""
        return np.sqrt(self.additive_sd**2 + (self.proportional_sd * viability) ** 2)


@dataclass(frozen=True)
class Replicates:
    """Wells gathered by treatment and cell line, in an order that the row order cannot change.

    ``order``: ``(n,)`` rows of the wells, sorted by treatment, then by viability. ``group``:
    ``(n,)`` group of each sorted row. ``first``: ``(g,)`` sorted position where a group starts.
    ``count``: ``(g,)`` wells in the group. ``scale``: ``(n,)`` noise of each sorted row's plate
    over that of a usual one.
    """

    order: IntArray
    group: IntArray
    first: IntArray
    count: IntArray
    scale: FloatArray

    def __len__(self) -> int:
        return len(self.first)

    @property
    def precision(self) -> FloatArray:
        """``(g,)`` what one well of the group is worth, in wells of a usual plate."""
        return np.asarray(np.bincount(self.group, self.scale**-2, len(self)) / self.count)


def gather_replicates(wells: Wells) -> Replicates:
    """Group the wells that hold the same compounds at the same doses in the same cell line."""
    treatment = _treatment_keys(wells)
    columns = [wells.doses_um[:, k] for k in range(MAX_COMPOUNDS) if np.any(wells.doses_um[:, k])]
    scale = well_scales(wells)
    order = np.lexsort([scale, wells.viability, *columns[::-1], treatment])
    new = np.ones(len(wells), bool)
    new[1:] = np.diff(treatment[order]) != 0
    for column in columns:
        new[1:] |= np.diff(column[order]) != 0
    first = np.flatnonzero(new)
    count = np.diff(np.append(first, len(wells)))
    return Replicates(order, np.cumsum(new) - 1, first, count, scale[order])


def _treatment_keys(wells: Wells) -> IntArray:
    """``(n,)`` one integer per cell line and set of compounds."""
    base = int(wells.compounds.max(initial=0)) + 2
    key = wells.cell_line.astype(np.int64)
    for k in range(MAX_COMPOUNDS):
        key = key * base + wells.compounds[:, k] + 1
    return key


def robust_means(replicates: Replicates, viability: FloatArray, noise: NoiseModel) -> FloatArray:
    """``(g,)`` Student-t location of each group; the plain mean where nothing stands out.

    ``viability``: ``(n,)`` in the sorted order. Groups of one or two wells have no outlier that
    the data could name: their mean is returned. Wells count by the inverse variance of their
    plates.
    """
    group, size = replicates.group, len(replicates)
    plain = replicates.scale**-2
    middle = replicates.first + (replicates.count - 1) // 2
    centre = 0.5 * (viability[middle] + viability[replicates.first + replicates.count // 2])
    sd = noise.sd(np.maximum(centre, 0.0))
    for _ in range(6):
        z = (viability - centre[group]) / (sd[group] * replicates.scale)
        weight = plain * (STUDENT_DOF + 1.0) / (STUDENT_DOF + z**2)
        total = np.bincount(group, weight, size)
        centre = np.bincount(group, weight * viability, size) / total
    mean = np.bincount(group, plain * viability, size) / np.bincount(group, plain, size)
    return np.where(replicates.count > 2, centre, mean)


def learn_noise(wells: Wells, replicates: Replicates) -> NoiseModel | None:
    """Noise of one well of a usual plate from the wells that repeat; None when fewer than three do.

    Residuals around a group's mean are widened by ``sqrt(n / (n - 1))`` for the degree of freedom
    that the mean took, and brought to a usual plate where theirs is not.
    """
    group = replicates.group
    viability, weight = wells.viability[replicates.order], replicates.scale**-2
    total = np.bincount(group, weight, len(replicates)).astype(np.float64)
    mean = np.bincount(group, weight * viability, len(replicates)) / total
    repeated: BoolArray = (replicates.count > 1)[group]
    level = mean[group[repeated]]
    residual = (viability[repeated] - level) * _widening(replicates, total)[repeated]
    if len(residual) < 3:
        return None
    return noise_of_residuals(level, residual, "replicate wells")


def _widening(replicates: Replicates, total: FloatArray) -> FloatArray:
    """``(n,)`` one over the standard deviation of a residual around the weighted mean of its group,
    in that of a well of a usual plate; 0 where nothing repeats. ``total``: ``(g,)`` weights."""
    group = replicates.group
    count = replicates.count[group]
    alone = count == 1
    if np.all(replicates.scale == 1.0):
        return np.where(alone, 0.0, np.sqrt(count / np.maximum(count - 1.0, 1.0)))
    left = np.where(alone, np.inf, replicates.scale**2 - 1.0 / total[group])
    return np.asarray(1.0 / np.sqrt(left))


def noise_of_residuals(level: FloatArray, residual: FloatArray, source: str) -> NoiseModel:
    """Fit both standard deviations to residuals ``(n,)`` at true levels ``(n,)``.

    The median absolute residual in bins of equal count gives a variance per level; non-negative
    least squares on relative errors gives the two terms. Few residuals give a constant only.
    """
    n_bins = int(np.clip(len(residual) // _RESIDUALS_PER_BIN, 1, _MOST_BINS))
    order = np.lexsort([residual, level])
    bins = np.array_split(order, n_bins)
    squares = np.array([_MAD_TO_SD * np.median(np.abs(residual[rows])) for rows in bins]) ** 2
    squares = np.maximum(squares, _SMALLEST_SD**2)
    if n_bins < 3:
        return NoiseModel(float(np.sqrt(np.mean(squares))), 0.0, source)
    centre = np.array([np.median(level[rows]) for rows in bins])
    design = np.stack([np.ones(n_bins), centre**2], axis=1) / squares[:, None]
    (additive, proportional), _ = nnls(design, np.ones(n_bins))
    floor = max(float(additive), _SMALLEST_SD**2)
    return NoiseModel(float(np.sqrt(floor)), float(np.sqrt(proportional)), source)
