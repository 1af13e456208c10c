"""How few numbers can reproduce any labels at all: constructions, not models.

:class:`Interpolant` projects points on one direction and runs a broken line through their labels:
one hidden layer of N - 1 rectifiers, d + 2 (N - 1) + 1 numbers, for any N distinct points. That
O(N) are enough is classical; that no fewer can be for points as close as exp(-c N) is Siegel 2023
(arXiv 2302.00834). For points well apart about sqrt(N) numbers of very many bits can do (Vardi et
al. 2022, arXiv 2110.03187). Constants are not known, so counts say what is possible, never that a
network is too small to memorise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.screen import FloatArray, ScreenError


def interpolating_parameters(n: int, dimensions: int) -> int:
    """Numbers of :class:`Interpolant` for ``n`` points."""
    return dimensions + 2 * (n - 1) + 1


def fewest_parameters(n: int) -> int:
    """sqrt(n log2 n): below it no construction is known, whatever the points; constants are 1."""
    return math.ceil(math.sqrt(n * max(1.0, math.log2(max(n, 2)))))


@dataclass(frozen=True)
class Interpolant:
    """f(x) = level + sum_i slope_i relu(direction . x - knot_i).

    ``direction`` ``(d,)``, ``knots`` and ``slopes`` ``(n - 1,)``; all of one float type.
    """

    direction: NDArray[np.floating]
    knots: NDArray[np.floating]
    slopes: NDArray[np.floating]
    level: np.floating

    @classmethod
    def through(
        cls, x: FloatArray, y: FloatArray, seed: int, dtype: type[np.floating] = np.float64
    ) -> Interpolant:
        """The line through ``y`` ``(n,)`` at the points ``x`` ``(n, d)``, worked out in ``dtype``.

        Raises :class:`ScreenError` where two points have the same place on the line in ``dtype``:
        no slope leads from one label to the other.
        """
        points, labels = x.astype(dtype), y.astype(dtype)
        drawn = np.random.default_rng(seed).normal(size=x.shape[1])
        direction = (drawn / np.linalg.norm(drawn)).astype(dtype)
        place = points @ direction
        order = np.argsort(place, kind="stable")
        place, labels = place[order], labels[order]
        gap = np.diff(place)
        if len(gap) and gap.min() <= 0:
            closest = int(np.argmin(gap))
            raise ScreenError(
                f"two of {len(x)} points coincide on the line in {np.dtype(dtype).name} (at "
                f"{place[closest]:.9g}): their labels cannot both be met"
            )
        rise = np.diff(labels) / gap
        slopes = np.diff(rise, prepend=dtype(0))
        return cls(direction, place[:-1], slopes.astype(dtype), labels[0])

    def __call__(self, x: FloatArray) -> NDArray[np.floating]:
        """``(m, d)`` points to ``(m,)``, in the type of the construction."""
        place = x.astype(self.direction.dtype) @ self.direction
        hidden = np.maximum(place[:, None] - self.knots[None, :], 0)
        return np.asarray(self.level + hidden @ self.slopes)

    @property
    def n_parameters(self) -> int:
        """Numbers that it consists of."""
        return len(self.direction) + len(self.knots) + len(self.slopes) + 1
