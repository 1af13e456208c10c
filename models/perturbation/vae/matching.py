"""A control cell for each treated cell: the assignment of least total distance.

The published Sinkhorn plan (regularisation 1 on distance / 100) is uniform, so that its maximum is
an arbitrary control used many times. The assignment is exact and uses every control once before
any twice.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.optimize
import scipy.spatial.distance

from models.screen import FloatArray, IntArray, ScreenError

MOST_CELLS = 3000
"""Controls among which is assigned at once; of more, a random part is used."""


def matched_controls(treated: FloatArray, controls: FloatArray, seed: int) -> IntArray:
    """``(n,)`` position of the control of each treated cell, by Euclidean distance of profiles.

    ``treated`` ``(n, g)`` and ``controls`` ``(c, g)``. A control is used at most
    ``ceil(n / c)`` times. Raises :class:`ScreenError` without controls.
    """
    if not len(controls):
        raise ScreenError("there are no control cells to match with")
    rng = np.random.default_rng(seed)
    result = np.empty(len(treated), np.int64)
    kept = rng.permutation(len(controls))[: max(MOST_CELLS, 1)]
    for start in range(0, len(treated), MOST_CELLS):
        part = treated[start : start + MOST_CELLS]
        copies = np.tile(kept, math.ceil(len(part) / len(kept)))
        cost = scipy.spatial.distance.cdist(_filled(part), _filled(controls[kept]))
        cost = np.tile(cost, (1, len(copies) // len(kept)))
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        result[start + rows] = copies[columns]
    return result


def _filled(profiles: FloatArray) -> FloatArray:
    return np.asarray(np.where(np.isnan(profiles), 0.0, profiles))
