"""Single-agent curves of a whole screen: fit once, then ask for viabilities, draws and features.

curves = fit_curves(screen.wells, len(screen.compounds), len(screen.cell_lines))
curves.viability(compound, cell_line, dose)             # (m,)
curves.curve_draws(compound, cell_line, dose, 500, 7)   # (500, m), whole functions
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from models.pharmacology.curve_fit import N_PARAMETERS, FittedCurves, dose_range, fit_all
from models.pharmacology.hill import hill, hill_gradient
from models.pharmacology.noise import NoiseModel
from models.pharmacology.random_numbers import combine, normals
from models.screen import BoolArray, FloatArray, IntArray, ScreenError, Wells

GRID_POINTS = 5
SUMMARY_NAMES = (
    *(f"viability_at_grid_dose_{k + 1}" for k in range(GRID_POINTS)),
    "mean_viability",
    "log_ec50_over_top_dose",
    "log_slope",
)
"""Columns of :meth:`CurveTable.summary`. Grid dose 1 is a compound's lowest dose, 5 its highest."""


@dataclass(frozen=True)
class CurveTable:
    """The posterior of every (compound, cell line) curve.

    ``log_c`` (natural logarithm of micromolar), ``log_h``, ``emax`` (fraction): ``(n_compounds,
    n_cell_lines)`` modes. ``covariance``: ``(n_compounds, n_cell_lines, 3, 3)`` of ``(log C,
    log h, log Emax)``. ``measured``: ``(n_compounds, n_cell_lines)``, false where the curve is
    the compound's mean (or, for a compound without any curve, the screen's) with its spread.
    ``log_dose_low``, ``log_dose_high``: ``(n_compounds,)`` doses that the screen used. ``noise``
    is that of one well; ``misfit_sd`` the scatter of dose means around the curve beyond it, at
    viability 1.
    """

    log_c: FloatArray
    log_h: FloatArray
    emax: FloatArray
    covariance: FloatArray
    measured: BoolArray
    log_dose_low: FloatArray
    log_dose_high: FloatArray
    noise: NoiseModel
    misfit_sd: float

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_compounds, n_cell_lines)``."""
        return self.log_c.shape[0], self.log_c.shape[1]

    def viability(self, compound: IntArray, cell_line: IntArray, dose_um: FloatArray) -> FloatArray:
        """Viability of single agents at the modes, broadcast over the arguments."""
        return hill(dose_um, *self._parameters(compound, cell_line))

    def gradient(self, compound: IntArray, cell_line: IntArray, dose_um: FloatArray) -> FloatArray:
        """``(..., 3)`` derivatives of :meth:`viability` by ``(log C, log h, log Emax)``."""
        log_c, log_h, emax = self._parameters(compound, cell_line)
        by_parameter = hill_gradient(dose_um, log_c, log_h, emax)
        by_parameter[..., 2] *= emax
        return by_parameter

    def misfit_sd_at(self, viability: FloatArray) -> FloatArray:
        """Standard deviation of the true dose response around the curve at these viabilities."""
        share = self.noise.sd(np.maximum(viability, 0.0)) / self.noise.sd(np.ones(1))
        return self.misfit_sd * share

    def curve_draws(
        self, compound: IntArray, cell_line: IntArray, dose_um: FloatArray, n: int, seed: int
    ) -> FloatArray:
        """``(n, m)`` draws of the viability of ``m`` single agents; each draw is a whole curve.

        Draw ``i`` of one curve has the same parameters whatever doses or other curves are asked
        for, in this call or another with the same seed.
        """
        key = np.asarray(compound, np.int64) * self.shape[1] + np.asarray(cell_line, np.int64)
        keys, where = np.unique(key, return_inverse=True)
        theta = self.parameter_draws(keys // self.shape[1], keys % self.shape[1], n, seed)
        log_c, log_h, log_emax = (theta[:, where, k] for k in range(N_PARAMETERS))
        return hill(np.asarray(dose_um, np.float64), log_c, log_h, np.exp(log_emax))

    def parameter_draws(
        self, compound: IntArray, cell_line: IntArray, n: int, seed: int
    ) -> FloatArray:
        """``(n, m, 3)`` draws of ``(log C, log h, log Emax)``, those of :meth:`curve_draws`."""
        key = np.asarray(compound, np.int64) * self.shape[1] + np.asarray(cell_line, np.int64)
        mode = np.stack(self._parameters(compound, cell_line), axis=-1)
        mode[:, 2] = np.log(mode[:, 2])
        factor = np.linalg.cholesky(self.covariance[compound, cell_line])
        return np.asarray(
            mode + np.einsum("uij,nuj->nui", factor, normals(seed, combine(key), n, 3))
        )

    def summary(self) -> FloatArray:
        """``(n_compounds, n_cell_lines, 8)`` features of each curve; columns ``SUMMARY_NAMES``.

        Doses are relative to the compound's own range: multiplying them all changes nothing.
        """
        share = np.linspace(0.0, 1.0, GRID_POINTS)
        width = self.log_dose_high - self.log_dose_low
        grid = np.exp(self.log_dose_low[:, None] + width[:, None] * share)[:, None, :]
        table = hill(grid, self.log_c[..., None], self.log_h[..., None], self.emax[..., None])
        potency = self.log_c - self.log_dose_high[:, None]
        extra = [table.mean(-1), potency, self.log_h]
        return np.concatenate([table, np.stack(extra, axis=-1)], axis=-1)

    def _parameters(
        self, compound: IntArray, cell_line: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        at = (compound, cell_line)
        return self.log_c[at], self.log_h[at], self.emax[at]


def fit_curves(wells: Wells, n_compounds: int, n_cell_lines: int) -> CurveTable:
    """Fit all single-agent curves of a screen at once.

    All wells may be given: those with one compound make the curves, every replicate and control
    informs the noise. The result does not depend on the order of the wells, and doses in other
    units give the same curves with ``C`` in those units.

    Raises :class:`ScreenError` where a well points outside the tables.
    """
    if wells.compounds.max(initial=-1) >= n_compounds:
        raise ScreenError(f"a well names compound {wells.compounds.max()} of {n_compounds}")
    if wells.cell_line.max(initial=-1) >= n_cell_lines:
        raise ScreenError(f"a well names cell line {wells.cell_line.max()} of {n_cell_lines}")
    doses = dose_range(wells, n_compounds)
    fitted = fit_all(wells, n_compounds, doses)
    theta, covariance, measured = _tables(fitted, n_cell_lines)
    return CurveTable(
        log_c=theta[..., 0] + doses.centre[:, None],
        log_h=theta[..., 1],
        emax=np.exp(theta[..., 2]),
        covariance=covariance,
        measured=measured,
        log_dose_low=doses.low,
        log_dose_high=doses.high,
        noise=fitted.noise,
        misfit_sd=fitted.misfit_sd,
    )


def _tables(fitted: FittedCurves, n_cell_lines: int) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Curves into full tables; the pairs without wells get their compound's mean and spread."""
    pooling = fitted.pooling
    spread = (pooling.within + pooling.mean_variance).diag_embed()
    theta, covariance = (_repeat(table, n_cell_lines) for table in (pooling.mean, spread))
    at = (fitted.data.compound.numpy(), fitted.data.cell_line.numpy())
    theta[at], covariance[at] = fitted.theta.numpy(), fitted.covariance.numpy()
    measured = np.zeros(theta.shape[:2], bool)
    measured[at] = True
    return theta, covariance, measured


def _repeat(table: Tensor, n_cell_lines: int) -> FloatArray:
    return np.repeat(table.numpy()[:, None], n_cell_lines, axis=1)
