"""Predictions as an equal mixture over draws, each with Student-t observation noise.

Throughout ``draws`` is ``(n, m)`` noise-free values, ``scale`` ``(m,)`` the scale of the noise and
``df`` its degrees of freedom (infinite: Gaussian). The predictive distribution of a measurement
is p(y_j) = (1/n) sum_i t_df((y_j - draws_ij) / scale_j) / scale_j.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special
import scipy.stats

from models.screen import FloatArray

LEVELS = (0.5, 0.8, 0.9, 0.95)
NOISE_POINTS = 33
"""Quantiles that stand for the noise of each draw in :func:`predictive_quantiles`."""


@dataclass(frozen=True)
class Noise:
    """Observation noise: ``scale`` ``(m,)`` positive and ``df`` above 2 (or infinite)."""

    scale: FloatArray
    df: float = math.inf

    def sd(self) -> FloatArray:
        """``(m,)`` standard deviation."""
        inflation = 1.0 if math.isinf(self.df) else math.sqrt(self.df / (self.df - 2))
        return np.asarray(self.scale * inflation, dtype=np.float64)

    def select(self, rows: np.ndarray) -> Noise:
        """Noise of the candidates at ``rows``."""
        return Noise(self.scale[rows], self.df)


def standard_cdf(z: FloatArray, df: float) -> FloatArray:
    """Student-t distribution function, the normal one for infinite ``df``."""
    values = scipy.special.ndtr(z) if math.isinf(df) else scipy.special.stdtr(df, z)
    return np.asarray(values, dtype=np.float64)


def probability_below(draws: FloatArray, value: FloatArray | float, noise: Noise) -> FloatArray:
    """``(m,)`` P(measurement <= value): (1/n) sum_i T_df((value - draws_i) / scale)."""
    return np.asarray(standard_cdf((value - draws) / noise.scale, noise.df).mean(axis=0))


def predictive_quantiles(draws: FloatArray, noise: Noise, levels: tuple[float, ...]) -> FloatArray:
    """``(len(levels), m)`` quantiles of the measurement.

    Each draw is spread over ``NOISE_POINTS`` equally likely quantiles of the noise. No randomness:
    the same draws give the same intervals.
    """
    middle = (np.arange(NOISE_POINTS) + 0.5) / NOISE_POINTS
    points = scipy.stats.norm.ppf(middle)
    if not math.isinf(noise.df):
        points = scipy.stats.t.ppf(middle, noise.df)
    spread = draws[:, None, :] + points[:, None] * noise.scale
    flat = spread.reshape(-1, draws.shape[1])
    return np.asarray(np.quantile(flat, levels, axis=0), dtype=np.float64)


def log_predictive_density(draws: FloatArray, observed: FloatArray, noise: Noise) -> FloatArray:
    """``(m,)`` log p(observed), nats; its mean is the elpd per block."""
    z = (observed - draws) / noise.scale
    if math.isinf(noise.df):
        density = scipy.stats.norm.logpdf(z)
    else:
        density = scipy.stats.t.logpdf(z, noise.df)
    summed = scipy.special.logsumexp(density, axis=0) - math.log(len(draws))
    return np.asarray(summed - np.log(noise.scale), dtype=np.float64)


def coverage(
    draws: FloatArray, observed: FloatArray, noise: Noise, levels: tuple[float, ...] = LEVELS
) -> dict[float, float]:
    """Share of observations inside the central interval of each level."""
    position = probability_below(draws, observed, noise)
    return {q: float(np.mean(np.abs(position - 0.5) <= q / 2)) for q in levels}


def rmse(predicted: FloatArray, observed: FloatArray) -> float:
    """Root of the mean squared error, in the unit of the values."""
    return float(np.sqrt(np.mean(np.square(predicted - observed))))


def pearson(first: FloatArray, second: FloatArray) -> float | None:
    """Correlation; ``None`` for fewer than three pairs or a constant column."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def spearman(first: FloatArray, second: FloatArray) -> float | None:
    """Correlation of ranks, ties sharing theirs; ``None`` as for :func:`pearson`."""
    ranks = (scipy.stats.rankdata(column) for column in (first, second))
    return pearson(*(np.asarray(rank, dtype=np.float64) for rank in ranks))
