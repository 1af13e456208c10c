"""References of no interaction: the viability that two or more single agents would give together.

Every function takes the ``k`` compounds on the last axis and broadcasts over the rest. Viability
is the fraction of the vehicle control; the excess of a combination over a reference is
``100 * (reference - observed)`` percentage points, positive for synergy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from models.pharmacology.hill import hill, inverse_hill
from models.screen import FloatArray

_BISECTIONS = 80


def bliss(viability: FloatArray) -> FloatArray:
    """Independent action: the product of the single viabilities ``(..., k)`` -> ``(...)``.

    Source: Bliss, Ann Appl Biol 26 (1939), 585.
    """
    return np.asarray(np.prod(viability, axis=-1), dtype=np.float64)


def hsa(viability: FloatArray) -> FloatArray:
    """Highest single agent: the lowest single viability ``(..., k)`` -> ``(...)``.

    Source: Berenbaum, Pharmacol Rev 41 (1989), 93.
    """
    return np.asarray(np.min(viability, axis=-1), dtype=np.float64)


REFERENCES: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {"bliss": bliss, "hsa": hsa}
)
"""References that need only the single viabilities ``(..., k)``."""

SUMMARIES: Mapping[str, str] = MappingProxyType(
    {
        "mean": "mean excess over the measured dose pairs",
        "max": "largest excess over the measured dose pairs; noise can only raise it",
    }
)
"""Ways to make one score of a block's dose pairs."""


def loewe(
    dose_um: FloatArray, log_c: FloatArray, log_h: FloatArray, emax: FloatArray
) -> FloatArray:
    """Dose additivity: the ``E`` that solves ``sum d_i / D_i(E) = 1``, ``(..., k)`` -> ``(...)``.

    ``D_i`` is the dose at which compound ``i`` alone gives ``E`` (Hill curves from 1 to ``emax``).
    NaN beyond the maximum of the weakest compound present, where no such ``E`` exists, and where
    a compound present does not inhibit at all. Exactly the single curve where one compound is
    present, 1 where none is. Source: Loewe, Arzneimittelforschung 3 (1953), 285.
    """
    dose, log_c, log_h, emax = np.broadcast_arrays(dose_um, log_c, log_h, emax)
    present = dose > 0
    low = np.where(present, emax, -np.inf).max(axis=-1)
    low = np.where(np.isfinite(low), low, 0.0)
    high = np.ones_like(low)
    floor = low
    with np.errstate(invalid="ignore"):
        unreached = _additivity(low, dose, log_c, log_h, emax) > 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        below = _additivity(middle, dose, log_c, log_h, emax) > 1.0
        low, high = np.where(below, low, middle), np.where(below, middle, high)
    result = np.where(unreached | (floor >= 1.0), np.nan, 0.5 * (low + high))
    alone = np.where(present, hill(dose, log_c, log_h, emax), 1.0).prod(axis=-1)
    return np.where(present.sum(axis=-1) < 2, alone, result)


def _additivity(
    viability: FloatArray,
    dose: FloatArray,
    log_c: FloatArray,
    log_h: FloatArray,
    emax: FloatArray,
) -> FloatArray:
    """``sum d_i / D_i(E)``: rises with ``E``, above 1 where the doses do more than ``E``."""
    equivalent = inverse_hill(viability[..., None], log_c, log_h, emax)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = np.where(dose > 0, dose / equivalent, 0.0)
    return np.asarray(shares.sum(axis=-1), dtype=np.float64)
