"""Untreated samples as noisy as the averaged conditions beside them.

A condition that was measured several times scatters less than one control well or cell. To tell
what is noise, controls are dealt at random into samples of as many rows as a usual condition has.
"""

from __future__ import annotations

import numpy as np

from models.perturbation.data import ResponseTable
from models.perturbation.vae.cells import CellTable
from models.screen import BoolArray, FloatArray, IntArray

MOST = 60
"""Samples beyond which the noise is known well enough."""


def of_log_ratios(table: ResponseTable, seed: int) -> FloatArray:
    """``(c, g)`` means of good control rows of a table of log ratios, c <= ``MOST``; NaN where all
    of a sample miss a readout. None without controls, or with fewer than a condition has rows."""
    good = table.select(~table.low_quality)
    parts = _dealt(good.is_control, good.doses, seed)
    means = [_mean(good.values[part]) for part in parts]
    return np.array(means).reshape(len(means), len(table.readouts))


def of_counts(cells: CellTable, seed: int) -> FloatArray:
    """``(c, g)`` natural logarithms of pooled good control cells over all of them, as
    :func:`models.perturbation.vae.evaluation.measured_effects` reports conditions; c <= ``MOST``.
    """
    good = cells.select(~cells.low_quality)
    level = _log_share(good.select(good.is_control))
    parts = _dealt(good.is_control, good.doses, seed)
    shares = [_log_share(good.select(part)) - level for part in parts]
    return np.array(shares).reshape(len(shares), len(cells.readouts))


def _dealt(is_control: BoolArray, doses: FloatArray, seed: int) -> list[IntArray]:
    """Rows of the controls, in samples of as many as the median condition has."""
    treated, rows = doses[~is_control], np.flatnonzero(is_control)
    if not len(treated):
        return []
    _, count = np.unique(treated, axis=0, return_counts=True)
    size = max(1, int(np.median(count)))
    dealt = np.random.default_rng([seed, 23]).permutation(rows)
    n = min(len(rows) // size, MOST)
    return [np.sort(dealt[k * size : (k + 1) * size]) for k in range(n)]


def _mean(values: FloatArray) -> FloatArray:
    """Mean of the rows that were read; NaN where none was."""
    read = ~np.isnan(values)
    count = read.sum(axis=0)
    total = np.where(read, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _log_share(cells: CellTable) -> FloatArray:
    return np.asarray(np.log((cells.values.sum(axis=0) + 0.5) / cells.library.sum()))
