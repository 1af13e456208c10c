"""The spread and tails of forecasts, from what the process would have said of its own data.

Leave-one-out forecasts of a Gaussian process are in closed form: with K the covariance of noisy
data and w = K^-1 y, the residual of block i divided by its forecast's standard deviation is
w_i / sqrt((K^-1)_ii) (Rasmussen & Williams 2006, eq. 5.12).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import scipy.stats

from models.screen import FloatArray

PROBES = 600
FEWEST = 20
DF_RANGE = (3.0, 60.0)
SPREAD_RANGE = (0.6, 1.6)


@dataclass(frozen=True)
class Tails:
    """Forecast errors are Student-t with ``df``; their standard deviation is ``spread`` times that
    which the Gaussian process states. ``judged``: leave-one-out forecasts behind it."""

    df: float
    spread: float
    judged: int


def learn_tails(z: FloatArray) -> Tails:
    """From standardised leave-one-out residuals ``(m,)``, by maximum likelihood.

    Fewer than ``FEWEST`` tell nothing of tails: then a Student-t with 7 degrees of freedom as
    wide as stated.
    """
    if len(z) < FEWEST:
        return Tails(7.0, 1.0, len(z))

    def loss(parameters: FloatArray) -> float:
        df, sd = math.exp(parameters[0]), math.exp(parameters[1])
        return -float(scipy.stats.t.logpdf(z, df, scale=sd * math.sqrt((df - 2) / df)).sum())

    bounds = [tuple(np.log(DF_RANGE)), tuple(np.log(SPREAD_RANGE))]
    found = scipy.optimize.minimize(loss, np.log([8.0, 1.0]), bounds=bounds)
    return Tails(math.exp(found.x[0]), math.exp(found.x[1]), len(z))
