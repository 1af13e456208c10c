"""Nearest neighbours among the inputs of a fit: by a tree in few dimensions, else by products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from models.screen import FloatArray, IntArray

NEIGHBOURS = 5
TREE_DIMENSIONS = 12
"""Up to so many a tree is searched; beyond, it looks at nearly all points, one by one."""
MOST_LOOKED_AT = 5_000
"""Points whose neighbours are looked for, among all points; of more, a random part."""
_AT_ONCE = 512


@dataclass(frozen=True)
class Neighbours:
    """``rows`` ``(m,)`` looked at; ``others`` ``(m, k)`` the nearest points of each, itself left
    out, with their ``distances`` ``(m, k)``, ascending. k is 0 for a single point."""

    rows: IntArray
    others: IntArray
    distances: FloatArray

    @classmethod
    def of(cls, x: FloatArray, k: int = NEIGHBOURS) -> Neighbours:
        """Among points ``(n, d)``; which part of very many is looked at follows from n alone."""
        n = len(x)
        rows = np.arange(n)
        if n > MOST_LOOKED_AT:
            rows = np.sort(np.random.default_rng(n).permutation(n)[:MOST_LOOKED_AT])
        k = min(k, n - 1)
        if k < 1:
            return cls(rows, np.zeros((n, 0), np.int64), np.zeros((n, 0)))
        if x.shape[1] <= TREE_DIMENSIONS:
            near = cKDTree(x).query(x[rows], k + 1)[1]
        else:
            near = _by_products(x, rows, k + 1)
        others = _without_self(rows, near.astype(np.int64))
        distances = np.linalg.norm(x[rows][:, None] - x[others], axis=2)
        order = np.argsort(distances, axis=1, kind="stable")
        take = (np.take_along_axis(table, order, 1) for table in (others, distances))
        return cls(rows, *take)

    def pairs(self, n: int) -> tuple[IntArray, IntArray, FloatArray]:
        """Each pair once: rows ``(p,)`` and ``(p,)``, the first below the second, and distances
        ``(p,)``; ``n``: number of points."""
        row = np.repeat(self.rows, self.others.shape[1])
        other, distance = self.others.ravel(), self.distances.ravel()
        key, at = np.unique(np.minimum(row, other) * n + np.maximum(row, other), return_index=True)
        return key // n, key % n, distance[at]


def _by_products(x: FloatArray, rows: IntArray, k: int) -> IntArray:
    """``(m, k)`` nearest points by |a|^2 + |b|^2 - 2 ab, in any order."""
    centred = x - x.mean(axis=0)
    square = np.square(centred).sum(axis=1)
    found = np.empty((len(rows), k), np.int64)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        apart = square[None, :] - 2.0 * (centred[part] @ centred.T)
        found[start : start + _AT_ONCE] = np.argpartition(apart, k - 1, axis=1)[:, :k]
    return found


def _without_self(rows: IntArray, near: IntArray) -> IntArray:
    """``(m, k - 1)``: each row's own number left out, or the last where duplicates crowd it out."""
    own = near == rows[:, None]
    own[~own.any(axis=1), -1] = True
    return np.asarray(near[~own]).reshape(len(near), near.shape[1] - 1)
