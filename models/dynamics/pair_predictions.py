"""Curves of unseen dose pairs: the mechanism, corrected by what it missed at the pairs fitted.

Rates and synergy come from the mechanism alone. Predictions of curves may do more: what it leaves
of the transformed readings at each dose pair (mean over wells) is carried to other doses by
kriging with a linear trend over log doses (a Gaussian process with the mechanism as its mean;
Kennedy & O'Hagan 2001, JRSS B 63). How far doses reach, and whether the mechanism helps at all, is
chosen for each channel by leaving out each dose pair in turn (Rasmussen & Williams 2006, section
5.4.2); so is the spread.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray

REACHES = (1.5, 3.0, 6.0, 12.0)
"""In doublings of a dose."""
NUGGETS = (0.02, 0.1, 0.4)
SHARES = (0.0, 0.5, 1.0)
"""How much of the mechanism is the mean of the process."""
TREND = 100.0
"""Variance of the linear trend over that of the process: as good as unknown."""
FEWEST = 3


@dataclass(frozen=True)
class Kriging:
    """One channel: ``rows`` ``(c,)`` of the dose pairs used at ``places`` ``(c, 2)``; ``share`` of
    the mechanism; ``inverse`` covariance ``(c, c)``; ``variance`` ``(T,)`` of the process."""

    rows: np.ndarray
    places: FloatArray
    share: float
    reach: float
    nugget: float
    inverse: FloatArray
    variance: FloatArray

    def weights(self, places: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights ``(m, c)`` of the pairs fitted at ``places`` ``(m, 2)``, and the share of
        variance ``(m,)`` that is left."""
        across = covariance(places, self.places, self.reach)
        found = across @ self.inverse
        own = 1 + TREND * (1 + (places**2).sum(1)) + self.nugget
        return found, np.maximum(own - (found * across).sum(1), 1e-9)


def covariance(left: FloatArray, right: FloatArray, reach: float) -> FloatArray:
    """Matern 3/2 with a linear trend, ``(n, m)`` between places ``(n, 2)`` and ``(m, 2)``."""
    far = math.sqrt(3) / reach * np.sqrt(((left[:, None] - right[None]) ** 2).sum(-1))
    trend: FloatArray = TREND * (1 + left @ right.T)
    return np.asarray((1 + far) * np.exp(-far) + trend)


def fitted_kriging(
    places: FloatArray, pairs: np.ndarray, seen: FloatArray, mechanism: FloatArray
) -> Kriging | None:
    """The best of all settings for one channel; ``None`` with too few dose pairs to tell.

    ``places`` ``(C, 2)`` log doses; ``pairs`` ``(C,)`` those of two drugs, which judge; ``seen``
    ``(C, T)`` mean transformed readings, NaN where there are none; ``mechanism`` ``(C, T)``.
    """
    rows = np.flatnonzero(np.isfinite(seen).all(axis=1))
    judges = pairs[rows]
    if judges.sum() < FEWEST:
        return None
    scores: list[float] = []
    options: list[Kriging] = []
    at = np.asarray(places[rows], np.float64)
    for reach, nugget, share in itertools.product(REACHES, NUGGETS, SHARES):
        inverse = np.asarray(
            np.linalg.inv(covariance(at, at, reach) + nugget * np.eye(len(at))), np.float64
        )
        left = 1 / np.diag(inverse)[judges]
        off = (inverse @ (seen[rows] - share * mechanism[rows]))[judges] * left[:, None]
        variance = np.maximum((off**2 / left[:, None]).mean(axis=0), 1e-8)
        score = -0.5 * np.log(variance * left[:, None]).mean()
        scores.append(float(score))
        options.append(Kriging(rows, at, share, reach, nugget, inverse, variance))
    return options[int(np.argmax(scores))]
