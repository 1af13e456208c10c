"""Near-identical experiments with contradictory outcomes, and how steep the data are.

Over pairs of nearest neighbours (k = 5) |dy| / |dx| is a slope that any function through the data
must have somewhere; beside it stands the slope of the fitted function over the same pairs.

A pair is tested where its inputs are near (within ``NEAR`` of the usual distance of two
experiments). What a function as steep as the fitted one nearly everywhere (the 90 % quantile of
its slopes, which no single pair can move) changes over the distance counts as error, too:

    z = |y_i - y_j| / sqrt(se_i^2 + se_j^2 + (slope |x_i - x_j|)^2)

A function that has learned both outcomes by heart hides nothing, because its own values enter by
that quantile only. Standard errors of scores often promise too much, so z is divided by the spread
that pairs show of which the standard errors are the larger part, where that is above 1 (genomic
control, Devlin & Roeder 1999), and p values become q values (Benjamini & Hochberg 1995). A flagged
pair is worth another measurement: one of the two is wrong, or what sets them apart is not among
the inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.stats

from models.bayes.neighbours import Neighbours
from models.screen import FloatArray, IntArray, ScreenError

NEAR = 0.25
"""Share of the median distance of two random experiments within which two are near-identical."""
STEEPNESS = 0.9
"""Quantile of the fitted slopes that is granted."""
FDR = 0.1
FEWEST_FOR_SPREAD = 20
"""Pairs from which the spread of z is learned; with fewer, standard errors are believed."""
NORMAL_MEDIAN = 0.4549364
"""Median of chi squared with one degree of freedom."""
_RANDOM_PAIRS = 4_000


@dataclass(frozen=True)
class Contradiction:
    """Experiments ``suspect`` and ``other`` (rows). ``distance`` in the inputs' unit; ``z`` after
    the correction; ``q``: share of false flags among pairs as surprising as this one."""

    suspect: int
    other: int
    distance: float
    z: float
    p: float
    q: float


@dataclass(frozen=True)
class Neighbourhoods:
    """``data_slope`` and ``fitted_slope``: steepest over distinct neighbours, ``None`` where there
    are none. ``near``: the distance within which two experiments are near-identical; ``tested``:
    such pairs; ``spread``: what z was divided by. ``flagged``: most surprising first."""

    data_slope: float | None
    fitted_slope: float | None
    near: float
    tested: int
    spread: float
    flagged: tuple[Contradiction, ...]


def find_contradictions(
    x: FloatArray,
    y: FloatArray,
    errors: FloatArray,
    fitted: FloatArray,
    neighbours: Neighbours | None = None,
    *,
    fdr: float = FDR,
) -> Neighbourhoods:
    """Of inputs ``(n, d)``, outcomes ``(n,)`` with standard errors ``(n,)`` and fitted values
    ``(n,)``; ``neighbours``: of ``x``, if they are known.

    Pairs whose standard errors are both 0 are not tested. Raises :class:`ScreenError` for shapes
    that do not fit.
    """
    if not len(x) == len(y) == len(errors) == len(fitted):
        raise ScreenError("every experiment needs inputs, an outcome, its error and a fitted value")
    first, second, distance = (neighbours or Neighbours.of(x)).pairs(len(x))
    if not len(first):
        return Neighbourhoods(None, None, 0.0, 0, 1.0, ())
    apart = np.abs(y[first] - y[second])
    fitted_apart = np.abs(fitted[first] - fitted[second])
    distinct = distance > 0
    slope = fitted_apart[distinct] / distance[distinct]
    granted = float(np.quantile(slope, STEEPNESS)) if distinct.any() else 0.0
    near = NEAR * usual_distance(x)
    error = np.hypot(errors[first], errors[second])
    tested = (distance <= near) & (error > 0)
    allowed = granted * distance[tested]
    z = apart[tested] / np.hypot(error[tested], allowed)
    spread = _spread(z[allowed <= error[tested]])
    pairs = first[tested], second[tested], distance[tested]
    flagged = _flag(*pairs, z / spread, np.abs(y - fitted) / np.maximum(errors, 1e-300), fdr)
    return Neighbourhoods(
        float((apart[distinct] / distance[distinct]).max()) if distinct.any() else None,
        float(slope.max()) if distinct.any() else None,
        near,
        int(tested.sum()),
        spread,
        flagged,
    )


def usual_distance(x: FloatArray) -> float:
    """Median distance of two experiments drawn at random, always the same ones."""
    rng = np.random.default_rng(len(x))
    first, second = rng.integers(len(x), size=(2, _RANDOM_PAIRS))
    apart = np.linalg.norm(x[first] - x[second], axis=1)[first != second]
    return float(np.median(apart)) if len(apart) else 0.0


def q_values(p: FloatArray) -> FloatArray:
    """Benjamini and Hochberg's, ``(m,)``."""
    order = np.argsort(p)
    ratio = p[order] * len(p) / np.arange(1, len(p) + 1)
    result = np.empty(len(p))
    result[order] = np.minimum.accumulate(ratio[::-1])[::-1].clip(max=1.0)
    return result


def _spread(z: FloatArray) -> float:
    if len(z) < FEWEST_FOR_SPREAD:
        return 1.0
    return float(np.sqrt(max(1.0, np.median(np.square(z)) / NORMAL_MEDIAN)))


def _flag(
    first: IntArray,
    second: IntArray,
    distance: FloatArray,
    z: FloatArray,
    odd: FloatArray,
    fdr: float,
) -> tuple[Contradiction, ...]:
    """``odd`` ``(n,)``: how far each experiment lies from its fitted value, in its errors."""
    if not len(z):
        return ()
    p = 2.0 * scipy.stats.norm.sf(z)
    q = q_values(p)
    at = np.flatnonzero(q <= fdr)
    times = np.bincount(np.concatenate([first[at], second[at]]), minlength=len(odd))
    found = []
    for row in at[np.argsort(p[at], kind="stable")]:
        pair = sorted((int(first[row]), int(second[row])), key=lambda i: (-times[i], -odd[i], i))
        numbers = (float(v[row]) for v in (distance, z, p, q))
        found.append(Contradiction(*pair, *numbers))
    return tuple(found)
