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
from torch import Tensor
from torch.nn.functional import logsigmoid

from models.pharmacology.hill import hill, inverse_hill
from models.screen import FloatArray, ScreenError

_MOST_STEPS = 60
_LIMIT = 40.0  # the first guess is held within; Newton leaves it where it must


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
    tables = (np.moveaxis(t, -1, 0) for t in (relative, log_h, emax))
    columns = (torch.from_numpy(np.ascontiguousarray(t, np.float64)) for t in tables)
    solved = loewe_tensor(*columns, tolerance=1e-15).numpy()
    alone = np.where(present, hill(dose, log_c, log_h, emax), 1.0).prod(axis=-1)
    return np.where(present.sum(axis=-1) < 2, alone, solved)


def loewe_tensor(
    relative: Tensor, log_h: Tensor, emax: Tensor, *, tolerance: float = 1e-6
) -> Tensor:
    """As :func:`loewe`, ``(k, ...)`` -> ``(...)``, the compounds on the *first* axis.

    ``relative``: ``log(d_i / C_i)``, minus infinity where absent; any floating type. With ``M`` the
    weakest compound's maximum and ``E = M + (1 - M) sigmoid(-z)``, the logarithm of
    ``sum d_i / D_i`` falls in ``z`` and is convex, so that Newton's method finds the one root from
    any start; from the left, where it starts here, without overshooting. ``tolerance``: of ``E``.
    """
    shape = relative.shape[1:]
    relative, log_h, emax = (t.reshape(len(t), -1) for t in (relative, log_h, emax))
    present = relative > -torch.inf
    floor = torch.where(present, emax, -torch.inf).amax(0)
    floor = torch.where(floor > -torch.inf, floor, 0.0)
    h = log_h.exp()
    gap = torch.where(present, (floor - emax) / (1.0 - floor), 0.0)
    at_floor = torch.where(gap > 0, (relative + gap.log() / h).exp(), 0.0).sum(0)
    defined = (at_floor < 1.0) & (floor < 1.0)
    z = _best_alone(relative, h, gap).clamp(-_LIMIT, _LIMIT)
    active = torch.nonzero(defined)[:, 0]
    some = tuple(t[:, active] for t in (relative, h, gap))
    for _ in range(_MOST_STEPS):
        if not len(active):
            break
        step, moved = _loewe_step(z[active], *some)
        z[active] += step
        going = moved.abs() > tolerance
        active, some = active[going], tuple(t[:, going] for t in some)
    value = floor + (1.0 - floor) * torch.sigmoid(-z)
    return torch.where(defined, value, torch.nan).reshape(shape)


def _best_alone(relative: Tensor, h: Tensor, gap: Tensor) -> Tensor:
    """``(r,)`` the root if only the strongest compound were there: left of the true one."""
    effect = torch.sigmoid(h * relative) * (1.0 + gap)  # in units of 1 - M
    alone = torch.where(gap > 0, effect.log() - (1.0 - effect).log(), h * relative)
    return alone.nan_to_num(nan=_LIMIT).amax(0)


def _loewe_step(z: Tensor, relative: Tensor, h: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's step of ``log sum_i d_i / D_i(E(z)) = 0``, in ``z`` and in ``E``."""
    below, above = torch.sigmoid(-z), torch.sigmoid(z)
    left = torch.where(gap > 0, (gap + below).log(), logsigmoid(-z))
    shares = relative - (logsigmoid(z) - left) / h
    slope = torch.where(gap > 0, below + above * below / (gap + below), 1.0)
    top = shares.amax(0)
    weight = (shares - top).exp()
    total = weight.sum(0)
    step = (top + total.log()) * total / (weight * slope / h).sum(0)
    return step, step * below * above


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
