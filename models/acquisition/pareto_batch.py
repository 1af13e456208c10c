"""A batch for several objectives at once: greedy on draws, and which of it is on the front.

    front_batch(evaluate_front(wish, functions, pairs, 128, 1), 24, reference=np.array([0.0, 0.0]))

``hypervolume``: with ``V_i(S)`` the volume that the functions of world ``i`` at ``S`` and all that
was measured dominate above the reference point, each step takes the candidate with the largest
(1/n) sum_i [V_i(S + j) - V_i(S)]. The sum is monotone and submodular in S, so the greedy batch
reaches at least 1 - 1/e of the best batch of its size (Nemhauser, Wolsey & Fisher, Math Program 14
(1978), 265), and gains from earlier steps are upper bounds: only few need a second look (Minoux
1978). Source of the criterion: Daulton, Balandat & Bakshy, NeurIPS 2021, for noise-free functions.

``front_probability``: the candidates most likely to be on the front, the batch with the largest
expected number of front members; it does not mind that two of them say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.objectives.pareto import FreeRegion, front_probability, mean_front, require_front_draws
from models.screen import BoolArray, FloatArray, IntArray, NothingLeft, ScreenError

RULES = ("hypervolume", "front_probability")
LOOKED_AT = 32
"""Candidates whose gains are brought up to date at once."""


@dataclass(frozen=True)
class FrontBatch:
    """``rows`` ``(b,)`` of the pool, first choice first, and what each adds by the ``rule``:
    ``gain`` ``(b,)``, expected volume or probability. ``on_mean_front`` ``(b,)``: is it on the
    front of the posterior means. Of the whole pool, ``(m,)``: ``front_probability``,
    ``mean_front``, ``first_gain`` (what each candidate would add alone: values for a chooser that
    has rules of its own)."""

    rule: str
    rows: IntArray
    gain: FloatArray
    on_mean_front: BoolArray
    front_probability: FloatArray
    mean_front: BoolArray
    first_gain: FloatArray


def front_batch(
    draws: FloatArray,
    size: int,
    reference: FloatArray,
    *,
    rule: str = "hypervolume",
    excluded: BoolArray | None = None,
    pending: IntArray | None = None,
    measured: FloatArray | None = None,
) -> FrontBatch:
    """Choose up to ``size`` candidates from ``draws`` ``(k, n, m)``.

    ``reference`` ``(k,)``: see :func:`models.objectives.pareto.reference_point`. ``excluded``
    ``(m,)``: never chosen, but part of the pool's front. ``pending``: rows that are in the lab,
    not chosen and counted as if they were. ``measured``: ``(q, k)`` values that are known, or
    their draws ``(k, n, q)``. Ties go to the earlier row; candidates that add nothing are chosen
    only when no other is left, by their probability of being on the front.

    Raises :class:`ScreenError` for arguments that do not fit and :class:`NothingLeft` where
    nothing may be chosen. Takes about ``n m k`` operations per box of the measured front: for
    large pools give the candidates that matter.
    """
    require_front_draws(draws)
    k, n, m = draws.shape
    if rule not in RULES:
        raise ScreenError(f"unknown rule {rule!r} for a front; known are {', '.join(RULES)}")
    if size < 1 or np.shape(reference) != (k,):
        raise ScreenError(f"a front batch needs a size and a reference point of {k} values")
    pending = np.empty(0, np.int64) if pending is None else pending
    blocked = np.zeros(m, bool) if excluded is None else excluded.copy()
    blocked[pending] = True
    if blocked.all():
        raise NothingLeft("every candidate is excluded or in the lab: nothing is left")
    known = _known(measured, k, n)
    chance = _chance(draws, known)
    # (n, m, k): one world's candidates lie together.
    worlds = np.ascontiguousarray(np.moveaxis(draws, 0, -1))
    regions = [_region(reference, known[i], worlds[i, pending]) for i in range(n)]
    first = np.mean([regions[i].gain(worlds[i]) for i in range(n)], axis=0)
    if rule == "hypervolume":
        rows, gain = _greedy(worlds, regions, np.where(blocked, -np.inf, first), chance, size)
    else:
        order = np.argsort(np.where(blocked, np.inf, -chance), kind="stable")
        rows = order[: min(size, int((~blocked).sum()))]
        gain = chance[rows]
    on_front = mean_front(draws)
    return FrontBatch(rule, rows, gain, on_front[rows], chance, on_front, first)


def _known(measured: FloatArray | None, k: int, n: int) -> FloatArray:
    """``(n, q, k)`` measured values in each world."""
    if measured is None:
        return np.empty((n, 0, k))
    if measured.ndim == 2 and measured.shape[1] == k:
        return np.broadcast_to(measured, (n, *measured.shape))
    if measured.ndim == 3 and measured.shape[:2] == (k, n):
        return np.moveaxis(measured, 0, -1)
    raise ScreenError(f"measured values have shape {measured.shape}, expected (q, {k})")


def _chance(draws: FloatArray, known: FloatArray) -> FloatArray:
    """``(m,)`` probability of being on the front of pool and measurements together."""
    together = np.concatenate([draws, np.moveaxis(known, -1, 0)], axis=2)
    return front_probability(together)[: draws.shape[2]]


def _region(reference: FloatArray, known: FloatArray, pending: FloatArray) -> FreeRegion:
    region = FreeRegion(reference)
    for point in (*known, *pending):
        region.add(point)
    return region


def _greedy(
    worlds: FloatArray, regions: list[FreeRegion], bound: FloatArray, chance: FloatArray, size: int
) -> tuple[IntArray, FloatArray]:
    """Rows and gains; ``bound`` ``(m,)`` are gains of before, minus infinity where blocked."""
    bound = bound.copy()
    rows: list[int] = []
    gains: list[float] = []
    fresh = np.ones(len(bound), bool)
    for _ in range(min(size, int(np.isfinite(bound).sum()))):
        # Largest bound first, then the likelier member of the front, then the earlier row.
        while True:
            order = np.lexsort([-chance, -bound])
            if fresh[order[0]]:
                break
            stale = order[~fresh[order]][:LOOKED_AT]
            stale = stale[np.isfinite(bound[stale])]
            gained = [
                region.gain(world[stale]) for world, region in zip(worlds, regions, strict=True)
            ]
            bound[stale], fresh[stale] = np.mean(gained, axis=0), True
        best = int(order[0])
        rows.append(best)
        gains.append(float(bound[best]))
        for world, region in zip(worlds, regions, strict=True):
            region.add(world[best])
        bound[best], fresh[:] = -np.inf, False
    return np.array(rows, dtype=np.int64), np.array(gains)
