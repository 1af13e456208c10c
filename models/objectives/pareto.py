"""Fronts: candidates that no other beats in every objective, and the volume they dominate.

Objectives are maximised. ``a`` dominates ``b`` if it is at least as good everywhere and better
somewhere; equal candidates do not dominate each other, so all of them are on the front.
"""

from __future__ import annotations

import math

import numpy as np

from models.objectives.evaluating import require_finite
from models.objectives.objective import MOST_OBJECTIVES
from models.screen import BoolArray, FloatArray, ScreenError

CHUNK = 256
"""Candidates compared with the front, and among themselves, at once."""


def non_dominated(values: FloatArray) -> BoolArray:
    """``(..., m)`` which candidates are on the front of ``values`` ``(..., m, k)``, ``k`` 2 to 4.

    Exact, ties included. Leading axes are separate fronts. Two objectives cost one sort, more cost
    ``m`` times the size of the front. Raises :class:`ScreenError` for NaN, infinity or another
    number of objectives.
    """
    if values.ndim < 2 or not 2 <= values.shape[-1] <= MOST_OBJECTIVES:
        raise ScreenError(
            f"values have shape {values.shape}, expected (..., m, k) with k 2 to {MOST_OBJECTIVES}"
        )
    require_finite(values)
    if values.shape[-1] == 2:
        return _front_of_two(values)
    flat = values.reshape(math.prod(values.shape[:-2]), *values.shape[-2:])
    fronts = [_front_of_more(world) for world in flat]
    return np.array(fronts, dtype=bool).reshape(values.shape[:-1])


def front_probability(draws: FloatArray) -> FloatArray:
    """``(m,)`` share of worlds in which a candidate is on the front, ``draws`` ``(k, n, m)``."""
    require_front_draws(draws)
    return np.asarray(non_dominated(np.moveaxis(draws, 0, -1)).mean(axis=0), dtype=np.float64)


def mean_front(draws: FloatArray) -> BoolArray:
    """``(m,)`` which candidates are on the front of the posterior means, ``draws`` ``(k, n, m)``:
    a summary to show, not to choose by."""
    require_front_draws(draws)
    return non_dominated(draws.mean(axis=1).T)


def hypervolume(values: FloatArray, reference: FloatArray) -> float:
    """Volume that ``values`` ``(m, k)`` dominate above ``reference`` ``(k,)``, exact.

    Candidates that do not exceed the reference everywhere add nothing.
    """
    region = FreeRegion(reference)
    values = require_finite(np.asarray(values, dtype=np.float64)).reshape(-1, region.k)
    above = values[(values > region.reference).all(axis=1)]
    if len(above) and region.k > 1:
        above = above[non_dominated(above)]
    # From good to bad in the first objective the free region falls into few boxes.
    return sum(region.add(point) for point in above[np.lexsort(above.T[::-1])[::-1]])


def reference_point(values: FloatArray) -> FloatArray:
    """``(k,)`` a reference for fronts of ``values`` ``(m, k)``: a tenth of the front's range below
    its worst in each objective, so that the ends of the front count.

    Source: Ishibuchi et al., Evol Comput 26 (2018), 411. An objective in which the front does not
    vary takes the range of all values. Fix it once per campaign, or volumes cannot be compared.
    """
    front = values[non_dominated(values)]
    low, width = front.min(axis=0), np.ptp(front, axis=0)
    width = np.where(width > 0, width, np.ptp(values, axis=0))
    return np.asarray(low - 0.1 * np.where(width > 0, width, 1.0))


class FreeRegion:
    """What a front above ``reference`` ``(k,)`` leaves undominated, as disjoint boxes.

    The volume that a point adds is the volume of its intersections with the boxes; a new point
    cuts each box that it reaches into at most ``k`` pieces (Lacour, Klamroth & Fonseca, Comput
    Oper Res 79 (2017), 347). Exact for any ``k``, meant for two or three and small fronts.
    """

    def __init__(self, reference: FloatArray) -> None:
        self.reference = require_finite(np.asarray(reference, dtype=np.float64)).reshape(-1)
        self.k = len(self.reference)
        self.low = self.reference[None].copy()
        self.high = np.full((1, self.k), np.inf)

    def gain(self, points: FloatArray) -> FloatArray:
        """``(m,)`` volume that each of ``points`` ``(m, k)`` would add alone."""
        volume = np.ones((len(self.low), len(points)))
        for d in range(self.k):
            reached = np.minimum(points[:, d], self.high[:, d, None]) - self.low[:, d, None]
            volume *= np.maximum(reached, 0.0)
        return np.asarray(volume.sum(axis=0))

    def add(self, point: FloatArray) -> float:
        """Take ``point`` ``(k,)`` into the front; the volume it added."""
        gained = float(self.gain(point[None])[0])
        met = (self.low < point).all(axis=1)
        low, high = self.low[met], self.high[met]
        lows, highs = [self.low[~met]], [self.high[~met]]
        for d in range(self.k):
            # Beyond the point in d, and within its reach in the dimensions before.
            beyond = high[:, d] > point[d]
            piece = low[beyond].copy()
            piece[:, d] = point[d]
            lows.append(piece)
            highs.append(high[beyond])
            high = high.copy()
            high[:, d] = np.minimum(high[:, d], point[d])
        self.low, self.high = np.concatenate(lows), np.concatenate(highs)
        return gained


def require_front_draws(draws: FloatArray) -> None:
    """Raise :class:`ScreenError` unless ``draws`` is ``(k, n, m)``, finite, with two draws."""
    if draws.ndim != 3 or draws.shape[1] < 2 or not 2 <= draws.shape[0] <= MOST_OBJECTIVES:
        raise ScreenError(
            f"draws have shape {draws.shape}, expected (k, n, m) with k 2 to {MOST_OBJECTIVES} "
            "objectives and at least 2 draws"
        )
    require_finite(draws)


def _front_of_two(values: FloatArray) -> BoolArray:
    """By falling first, then second objective: on the front if the second beats all before."""
    order = np.lexsort([-values[..., 1], -values[..., 0]], axis=-1)
    first, second = (np.take_along_axis(values[..., d], order, axis=-1) for d in (0, 1))
    result = np.zeros(order.shape, bool)
    if not result.size:
        return result
    new = np.ones(order.shape, bool)
    new[..., 1:] = (np.diff(first, axis=-1) != 0) | (np.diff(second, axis=-1) != 0)
    best = np.full(order.shape, -np.inf)
    best[..., 1:] = np.maximum.accumulate(second, axis=-1)[..., :-1]
    # Equal candidates share the fate of the first of them.
    start = np.maximum.accumulate(np.where(new, np.arange(order.shape[-1]), 0), axis=-1)
    kept = second > np.take_along_axis(best, start, axis=-1)
    np.put_along_axis(result, order, kept, axis=-1)
    return result


def _front_of_more(values: FloatArray) -> BoolArray:
    """``(m,)`` for one world; in falling lexicographic order only earlier candidates dominate."""
    alive = np.flatnonzero(~_beaten_by_leaders(values))
    order = alive[np.lexsort(values[alive].T[::-1])[::-1]]
    front = np.empty((0, values.shape[1]))
    result = np.zeros(len(values), bool)
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        rows = rows[~_dominated(values[rows], front)]
        rows = rows[~_dominated(values[rows], values[rows])]
        result[rows] = True
        front = np.concatenate([front, values[rows]])
    return result


def _beaten_by_leaders(values: FloatArray) -> BoolArray:
    """``(m,)`` dominated by one of a few good candidates: most are, and cheaply told."""
    if len(values) <= CHUNK:
        return np.zeros(len(values), bool)
    spread = np.ptp(values, axis=0)
    leaders = np.argsort(-(values / np.where(spread > 0, spread, 1.0)).sum(axis=1))[:8]
    return _dominated(values, values[leaders])


def _dominated(values: FloatArray, by: FloatArray) -> BoolArray:
    """``(m,)`` which rows of ``values`` ``(m, k)`` one of ``by`` ``(q, k)`` dominates."""
    no_worse = np.ones((len(values), len(by)), bool)
    better = np.zeros((len(values), len(by)), bool)
    for d in range(values.shape[1]):
        column, other = values[:, d, None], by[None, :, d]
        no_worse &= other >= column
        better |= other > column
    return np.asarray((no_worse & better).any(axis=1))
