"""The Hill curve, its inverse and its derivatives: viability of one compound at one dose.

    E(d) = 1 + (Emax - 1) d^h / (C^h + d^h)

The untreated level is fixed at 1 because viability is the fraction of the vehicle control. The
parameters are ``log C`` (natural logarithm of micromolar), ``log h`` and ``Emax``; all functions
broadcast. Source: Hill, J Physiol 40 (1910); parametrisation as in Di Veroli et al., Sci Rep 5
(2015), 14701, without the free baseline.
"""

from __future__ import annotations

import numpy as np

from models.screen import FloatArray


def occupancy(dose_um: FloatArray, log_c: FloatArray, log_h: FloatArray) -> FloatArray:
    """``d^h / (C^h + d^h)``: 0 at dose 0, 1/2 at ``d = C``. Doses in micromolar, none negative."""
    with np.errstate(divide="ignore"):
        argument = np.exp(log_h) * (np.log(dose_um) - log_c)
    half = np.tanh(0.5 * argument)
    return np.asarray(0.5 * (1.0 + half), dtype=np.float64)


def hill(dose_um: FloatArray, log_c: FloatArray, log_h: FloatArray, emax: FloatArray) -> FloatArray:
    """Viability at ``dose_um`` (micromolar); exactly 1 at dose 0."""
    return 1.0 + (emax - 1.0) * occupancy(dose_um, log_c, log_h)


def hill_gradient(
    dose_um: FloatArray, log_c: FloatArray, log_h: FloatArray, emax: FloatArray
) -> FloatArray:
    """``(..., 3)`` derivatives of the viability by ``log C``, ``log h`` and ``Emax``."""
    s = occupancy(dose_um, log_c, log_h)
    slope = (emax - 1.0) * s * (1.0 - s) * np.exp(log_h)
    distance = np.log(np.where(dose_um > 0, dose_um, 1.0)) - log_c
    return np.stack([-slope, slope * distance, s], axis=-1)


def inverse_hill(
    viability: FloatArray, log_c: FloatArray, log_h: FloatArray, emax: FloatArray
) -> FloatArray:
    """Dose in micromolar that gives ``viability``; NaN where no dose does.

    0 at viability 1, infinite at ``Emax``; NaN outside that span and where ``Emax`` is not below 1.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = (1.0 - viability) / (viability - emax)
        dose = np.exp(log_c + np.exp(-log_h) * np.log(ratio))
    reachable = (viability <= 1.0) & (viability >= emax) & (emax < 1.0)
    return np.where(reachable, dose, np.nan)
