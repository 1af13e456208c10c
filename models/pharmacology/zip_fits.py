"""ZIP: the rows and columns of a block as shifted single-agent curves.

Along each row of a block (one dose of one compound, all doses of the other) a curve

    E(d) = E_fixed * Hill(d; log C, log h, log Emax),     E_fixed: single agent at the fixed dose,

is fitted, the same along each column, and ``y_fit`` is the mean of both. The reference is Bliss of
the fitted single curves, so ``delta = reference - y_fit`` (viability), positive for synergy. The
prior of a row's curve is the other compound's own curve, with wide spreads: without interaction a
row *is* that curve, and a row of one or two doses is not over-read. Source: Yadav et al., Comput
Struct Biotechnol J 13 (2015), 504; with priors in place of exact fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.pharmacology.dose_pairs import DosePairs, padded_groups, same_dose
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.hill import hill, hill_gradient
from models.pharmacology.least_squares import minimise
from models.screen import FloatArray, IntArray

SPREAD = np.array([2.5, 0.7, 1.5])
"""Prior standard deviation of a row's ``log C``, ``log h`` and ``log Emax`` around the curve of the
single agent: a potency shift of tenfold is within one of them."""

_STEPS = 25


@dataclass(frozen=True)
class ZipFit:
    """The smoothed surface and how it answers to what it was made of, ``t`` dose pairs.

    ``viability``: ``(t,)`` mean of row and column fits. ``members``: per axis ``(t, d)`` rows of
    the same line of the block, padded with the row itself. ``influence``: per axis ``(t, d)``
    derivative of the fit at ``t`` by the measured viability of each member, 0 in the padding.
    ``by_curve``: ``(t, 2, 3)`` derivative by the parameters of both curves. ``by_single``:
    ``(t, 2)`` derivative by the single viability of the compound held fixed.
    """

    viability: FloatArray
    members: tuple[IntArray, IntArray]
    influence: tuple[FloatArray, FloatArray]
    by_curve: FloatArray
    by_single: FloatArray

    def pull_back(self, weight: FloatArray) -> FloatArray:
        """``(t,)`` weights of measured viabilities that equal ``weight`` on the fitted ones."""
        total = np.zeros(len(weight))
        for members, influence in zip(self.members, self.influence, strict=True):
            total += np.bincount(
                members.ravel(), (weight[:, None] * influence).ravel(), len(weight)
            )
        return total

    def variance(self, variance: FloatArray) -> FloatArray:
        """``(t,)`` variance of the fitted viabilities from that of the measured ones, ``(t,)``."""
        own, total = np.zeros(len(variance)), np.zeros(len(variance))
        for members, influence in zip(self.members, self.influence, strict=True):
            itself = members == np.arange(len(members))[:, None]
            own += np.where(itself, influence, 0.0).sum(axis=1)
            total += np.where(itself, 0.0, influence**2 * variance[members]).sum(axis=1)
        return total + own**2 * variance


def fit_zip(pairs: DosePairs, curves: CurveTable, sd: FloatArray) -> ZipFit:
    """Fit every row and column of every block; ``sd``: ``(t,)`` of the measured viabilities.

    Swapping the compounds swaps rows and columns and changes no bit of the result.
    """
    parts = [_fit_axis(pairs, curves, sd, moving) for moving in (0, 1)]
    by_curve = 0.5 * (parts[0].by_curve + parts[1].by_curve)
    # The fit along compound 0 holds compound 1, so its baseline is a viability of compound 1.
    by_single = 0.5 * np.stack([parts[1].by_baseline, parts[0].by_baseline], axis=-1)
    return ZipFit(
        viability=0.5 * (parts[0].viability + parts[1].viability),
        members=(parts[0].members, parts[1].members),
        influence=(0.5 * parts[0].influence, 0.5 * parts[1].influence),
        by_curve=by_curve,
        by_single=by_single,
    )


@dataclass(frozen=True)
class _AxisFit:
    """As :class:`ZipFit`, of the lines along one compound; ``by_baseline``: ``(t,)``."""

    viability: FloatArray
    members: IntArray
    influence: FloatArray
    by_curve: FloatArray
    by_baseline: FloatArray


def _fit_axis(pairs: DosePairs, curves: CurveTable, sd: FloatArray, moving: int) -> _AxisFit:
    """Fit the lines along compound ``moving``, the other held at each of its doses."""
    held = 1 - moving
    line, _ = same_dose(pairs.block, pairs.doses_um[:, held])
    table, filled = padded_groups(line)
    head = table[:, 0]
    compound, cell = pairs.compounds[head], pairs.cell_line[head]
    prior = np.stack(
        [
            curves.log_c[compound[:, moving], cell],
            curves.log_h[compound[:, moving], cell],
            np.log(curves.emax[compound[:, moving], cell]),
        ],
        axis=-1,
    )
    at = (compound[:, held], cell, pairs.doses_um[head, held])
    baseline, slope = curves.viability(*at), curves.gradient(*at)
    dose = pairs.doses_um[:, moving][table]
    weight = filled / sd[table]
    target = pairs.viability[table]

    def problem(theta: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        value, jacobian = _curve(theta, dose[rows])
        scale = baseline[rows, None] * weight[rows]
        fit = scale * value - weight[rows] * target[rows]
        away = (theta - prior[rows]) / SPREAD
        prior_jacobian = np.broadcast_to(np.diag(1.0 / SPREAD), (len(rows), 3, 3))
        residual = np.concatenate([fit, away], axis=1)
        return residual, np.concatenate([scale[..., None] * jacobian, prior_jacobian], axis=1)

    found = minimise(problem, prior, steps=_STEPS)
    value, jacobian = _curve(found.theta, dose)
    jacobian = baseline[:, None, None] * jacobian
    back = np.linalg.inv(found.precision)
    response = jacobian @ back  # (l, d, 3)
    hat = (response @ np.swapaxes(jacobian, 1, 2)) * (weight**2)[:, None, :]
    by_baseline = value - (hat @ value[..., None])[..., 0]
    by_prior = response / SPREAD**2
    by_curve = np.zeros((len(pairs), 2, 3))
    place = (table[filled],)
    by_curve[(*place, moving)] = by_prior[filled]
    by_curve[(*place, held)] = (by_baseline[..., None] * slope[:, None, :])[filled]
    return _AxisFit(
        viability=_scattered(baseline[:, None] * value, table, filled),
        members=table[line],
        influence=_scattered(hat, table, filled),
        by_curve=by_curve,
        by_baseline=_scattered(by_baseline, table, filled),
    )


def _curve(theta: FloatArray, dose: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``(l, d)`` Hill curves of ``(l, 3)`` parameters and their ``(l, d, 3)`` derivatives."""
    log_c, log_h, emax = theta[:, 0:1], theta[:, 1:2], np.exp(theta[:, 2:3])
    jacobian = hill_gradient(dose, log_c, log_h, emax)
    jacobian[..., 2] *= emax
    return hill(dose, log_c, log_h, emax), jacobian


def _scattered(values: FloatArray, table: IntArray, filled: np.ndarray) -> FloatArray:
    """Values per place in a line, ``(l, d, ...)``, to values per dose pair, ``(t, ...)``."""
    result = np.empty((int(filled.sum()), *values.shape[2:]))
    result[table[filled]] = values[filled]
    return result
