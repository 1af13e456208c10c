"""References of no interaction: the viability that two or more single agents would give together.

Every function takes the ``k`` compounds on the last axis and broadcasts over the rest. Viability
is the fraction of the vehicle control; the excess of a combination over a reference is
``100 * (reference - observed)`` percentage points, positive for synergy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import torch

from models.pharmacology.hill import hill, inverse_hill
from models.pharmacology.loewe_solver import loewe_tensor
from models.screen import FloatArray, ScreenError


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


def untreated(viability: FloatArray) -> FloatArray:
    """No effect at all: 1, so that the excess is the inhibition; ``(..., k)`` -> ``(...)``."""
    return np.ones(np.shape(viability)[:-1])


def _loewe_of_viabilities(viability: FloatArray) -> FloatArray:
    raise ScreenError(
        "Loewe additivity needs whole single-agent curves; single viabilities do not define it"
    )


REFERENCES: Mapping[str, Callable[[FloatArray], FloatArray]] = MappingProxyType(
    {
        "bliss": bliss,
        "hsa": hsa,
        "zip": bliss,
        "loewe": _loewe_of_viabilities,
        "none": untreated,
    }
)
"""References by name, as functions of the single viabilities ``(..., k)``.

``zip`` is Bliss: what sets it apart is that single agents and combination are read off fitted
curves (:mod:`models.pharmacology.zip_fits`). ``loewe`` raises :class:`ScreenError`: it needs doses
and curves, see :func:`loewe` and :mod:`models.pharmacology.curve_references`.
"""

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
    with np.errstate(divide="ignore"):
        relative = np.log(dose) - log_c
    tables = (np.moveaxis(t, -1, 0) for t in (relative, np.exp(log_h), emax))
    columns = (torch.from_numpy(np.ascontiguousarray(t, np.float64)) for t in tables)
    solved = loewe_tensor(*columns, tolerance=1e-15).numpy()
    alone = np.where(present, hill(dose, log_c, log_h, emax), 1.0).prod(axis=-1)
    return np.where(present.sum(axis=-1) < 2, alone, solved)


def combination_index(
    dose_um: FloatArray,
    log_c: FloatArray,
    log_h: FloatArray,
    emax: FloatArray,
    viability: FloatArray,
) -> FloatArray:
    """``sum d_i / D_i(E)`` at the observed viability ``E`` ``(...)``; below 1 is synergy.

    NaN where a compound present cannot give ``E`` alone at any dose (``E`` of 1 or more, or at or
    below its maximum effect). 0 where no compound is present and ``E`` is below 1 would say
    nothing, so that is NaN, too. Source: Chou & Talalay, Adv Enzyme Regul 22 (1984), 27.
    """
    dose, log_c, log_h, emax = np.broadcast_arrays(dose_um, log_c, log_h, emax)
    observed = np.asarray(viability, np.float64)[..., None]
    alone = inverse_hill(observed, log_c, log_h, emax)
    usable = np.isfinite(alone) & (alone > 0)
    present = dose > 0
    shares = np.where(present, dose / np.where(usable, alone, np.nan), 0.0)
    return np.where(present.any(axis=-1), shares.sum(axis=-1), np.nan)
