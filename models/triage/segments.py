"""Optimal cuts of values in a row, and with them optimal weighted k-means in one dimension.

Dynamic programme over the cost of a segment, the weighted sum of squares around its weighted mean:
``D[k, i] = min_j D[k - 1, j] + cost(j, i)`` (Fisher 1958; Wang & Song 2011, section 2). In one
dimension the best clusters of k-means are runs of the sorted values, so clusters are segments of
those. All numbers of segments up to the most come out of one table; ``O(most n^2)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray, IntArray, ScreenError

MOST_VALUES = 4_000
"""Values in a row; the table of costs grows with their square."""


@dataclass(frozen=True)
class Segments:
    """``cost`` ``(most,)``: the smallest cost with 1, 2, .. segments. ``_cut`` ``(most, n + 1)``:
    where the last of them begins."""

    cost: FloatArray
    _cut: IntArray

    def labels(self, k: int) -> IntArray:
        """``(n,)`` segment of each value, 0 .. ``k`` - 1, when there are ``k`` of them."""
        if not 1 <= k <= len(self.cost):
            raise ScreenError(f"{k} segments were not computed, 1 to {len(self.cost)} were")
        n = self._cut.shape[1] - 1
        labels, end = np.zeros(n, np.int64), n
        for segment in range(k - 1, -1, -1):
            begin = int(self._cut[segment, end])
            labels[begin:end] = segment
            end = begin
        return labels


def best_segments(values: FloatArray, weights: FloatArray, most: int) -> Segments:
    """Cut ``values`` ``(n,)``, in the order given, into 1 to ``most`` runs of least cost.

    ``weights`` ``(n,)`` positive. ``most`` is held to ``n``. Ties go to the earlier cut.
    Raises :class:`ScreenError` for no values, too many, or weights that are not positive.
    """
    n = len(values)
    if not 1 <= n <= MOST_VALUES:
        raise ScreenError(f"{n} values cannot be cut; 1 to {MOST_VALUES} can")
    if len(weights) != n or not np.all((weights > 0) & np.isfinite(weights)):
        raise ScreenError("every value needs a positive, finite weight")
    if most < 1:
        raise ScreenError(f"values are cut into at least one segment, not {most}")
    most = min(most, n)
    cost = _cost_table(values, weights)
    best = np.full((most, n + 1), np.inf)
    cut = np.zeros((most, n + 1), np.int64)
    best[0] = cost[0]
    for k in range(1, most):
        total = best[k - 1][:, None] + cost
        cut[k] = np.argmin(total, axis=0)
        best[k] = np.take_along_axis(total, cut[k][None], axis=0)[0]
    return Segments(best[:, n].copy(), cut)


def cluster_values(values: FloatArray, weights: FloatArray, most: int) -> tuple[Segments, IntArray]:
    """Weighted k-means of ``values`` in any order: the segments of the sorted values, and the
    ``(n,)`` place of each value among them: ``segments.labels(k)[place]`` are the clusters."""
    order = np.argsort(values, kind="stable")
    place = np.empty(len(values), np.int64)
    place[order] = np.arange(len(values))
    return best_segments(values[order], weights[order], most), place


def segment_means(values: FloatArray, weights: FloatArray, labels: IntArray) -> FloatArray:
    """``(k,)`` weighted mean of the values under each of the labels 0 .. k - 1."""
    total = np.bincount(labels, weights)
    return np.asarray(np.bincount(labels, weights * values) / total, dtype=np.float64)


def _cost_table(values: FloatArray, weights: FloatArray) -> FloatArray:
    """``(n + 1, n + 1)`` cost of the run from the row to before the column; infinite where that is
    empty but for the diagonal of the first row. Values are centred, so that the difference of two
    sums of squares loses little."""
    centred = values - np.average(values, weights=weights)
    w, s, q = (
        np.concatenate([[0.0], np.cumsum(column)])
        for column in (weights, weights * centred, weights * centred**2)
    )
    n = len(values)
    weight = w[None, :] - w[:, None]
    inside = np.triu(np.ones((n + 1, n + 1), bool), 1)
    mean_part = np.divide(
        (s[None, :] - s[:, None]) ** 2, weight, out=np.zeros_like(weight), where=inside
    )
    cost = np.maximum(q[None, :] - q[:, None] - mean_part, 0.0)
    return np.where(inside, cost, np.inf)
