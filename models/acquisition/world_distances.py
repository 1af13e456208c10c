"""Distances between worlds: what a campaign does not want to confuse.

``draws`` ``(n, m)``: scores of ``m`` candidates in ``n`` worlds. Every function returns a
symmetric ``(n, n)`` matrix that is not negative, with zeros on the diagonal.
"""

from __future__ import annotations

import numpy as np
import torch

from models.acquisition.draws import AcquisitionError, require_draws, require_number
from models.acquisition.improvement import require_k
from models.screen import BoolArray, FloatArray, IntArray

COLUMNS = 1 << 16
"""Candidates of one matrix product."""


def score_distance(draws: FloatArray) -> FloatArray:
    """Mean squared difference of the scores: d(i, j) = (1/m) sum_c (f_ic - f_jc)^2."""
    checked = require_draws(draws)
    n, m = checked.shape
    gram = np.zeros((n, n))
    for start in range(0, m, COLUMNS):
        part = checked[:, start : start + COLUMNS]
        away = part - part.mean(axis=0)
        gram += away @ away.T
    square = np.diag(gram)
    # Of two equal worlds rounding may leave less than nothing.
    between = np.maximum(square[:, None] + square - (gram + gram.T), 0.0) / max(m, 1)
    np.fill_diagonal(between, 0.0)
    return np.asarray(between)


def hit_set_distance(draws: FloatArray, threshold: float) -> FloatArray:
    """Share of candidates that are a hit in one of the two worlds only."""
    checked = require_draws(draws)
    limit = require_number("the hit threshold", threshold)
    return distance_of_hits(common_hits(checked > limit), checked.shape[1])


def common_hits(hits: BoolArray) -> IntArray:
    """``(n, n)`` how many candidates are hits in both worlds; ``hits`` ``(n, m)`` bool.

    Whole numbers: parts of a pool may be added in any order.
    """
    total = np.zeros((len(hits), len(hits)), dtype=np.int64)
    for start in range(0, hits.shape[1], COLUMNS):
        # float32 counts exactly to 2^24.
        part = torch.from_numpy(hits[:, start : start + COLUMNS]).float()
        total += (part @ part.T).numpy().astype(np.int64)
    return total


def distance_of_hits(common: IntArray, m: int) -> FloatArray:
    """The distance of :func:`hit_set_distance` from :func:`common_hits` of ``m`` candidates."""
    count = np.diag(common)
    return np.asarray((count[:, None] + count - 2 * common) / max(m, 1), dtype=np.float64)


def top_k_distance(draws: FloatArray, k: int) -> FloatArray:
    """Share of one world's ``k`` best candidates that are not among the other's.

    Of equal scores the earlier candidate is the better.
    """
    checked = require_draws(draws)
    kept = min(require_k(k), checked.shape[1])
    best = np.zeros(checked.shape, dtype=bool)
    order = np.argsort(-checked, axis=1, kind="stable")[:, :kept]
    np.put_along_axis(best, order, True, axis=1)
    return np.asarray(1.0 - common_hits(best) / max(kept, 1))


def require_distance(distance: FloatArray, n: int) -> FloatArray:
    """A distance between ``n`` worlds as float64, checked."""
    if distance.shape != (n, n):
        raise AcquisitionError(f"the distance has shape {distance.shape}, expected ({n}, {n})")
    if not (np.all(np.isfinite(distance)) and np.all(distance >= 0)):
        raise AcquisitionError("a distance between worlds is finite and not negative")
    if not np.array_equal(distance, distance.T) or np.any(np.diag(distance)):
        raise AcquisitionError(
            "a distance between worlds is symmetric and 0 from a world to itself"
        )
    return np.asarray(distance, dtype=np.float64)
