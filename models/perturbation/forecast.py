"""Predictions of measured responses, the noise around them, and how good they were.

A forecast is a mixture of Student-t distributions, one a component, for each condition and
readout. ``m`` conditions, ``g`` readouts, ``k`` components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.special
import scipy.stats

from models.bayes.predictive import standard_cdf
from models.perturbation.protocol import ResponsePosterior
from models.screen import FloatArray

DFS = (3.0, 4.0, 5.0, 7.0, 10.0, 20.0, math.inf)
DRAWS = 256
SHRINKAGE = 4.0
"""Residuals of a readout that its shrinkage towards all readouts counts for."""


@dataclass(frozen=True)
class Forecast:
    """``means`` and ``scales`` ``(k, m, g)`` (or broadcast to it), ``weights`` ``(k,)`` of sum 1,
    and the degrees of freedom of all."""

    means: FloatArray
    scales: FloatArray
    weights: FloatArray
    df: float

    @property
    def mean(self) -> FloatArray:
        """``(m, g)``."""
        return np.asarray(np.tensordot(self.weights, self.means, 1))

    def log_density(self, observed: FloatArray) -> FloatArray:
        """``(m, g)`` log p(observed), nats."""
        z = (observed - self.means) / self.scales
        density = student_log_density(z, self.df) - np.log(self.scales)
        shares = np.log(self.weights)[:, None, None]
        return np.asarray(scipy.special.logsumexp(density + shares, axis=0))

    def cdf(self, observed: FloatArray) -> FloatArray:
        """``(m, g)`` P(measurement <= observed)."""
        z = (observed - self.means) / self.scales
        return np.asarray(np.tensordot(self.weights, standard_cdf(z, self.df), 1))

    def coverage(self, observed: FloatArray, level: float = 0.9) -> float:
        """Share of ``observed`` inside the central interval of ``level``."""
        return float(np.mean(np.abs(self.cdf(observed) - 0.5) <= level / 2))

    def widened(self, factor: float) -> Forecast:
        """All scales times ``factor``."""
        return replace(self, scales=self.scales * factor)


@runtime_checkable
class KnowsForecast(Protocol):
    """A posterior whose predictive distribution is a mixture by itself."""

    def forecast(self, doses: FloatArray) -> Forecast:
        """Distribution of measurements at ``doses`` ``(m, p)``."""
        ...


@runtime_checkable
class KnowsMoments(Protocol):
    """A posterior that knows the variance of its noise-free response without draws."""

    def moments(self, doses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``(m, g)`` mean and ``(m, g)`` variance."""
        ...


def forecast(posterior: ResponsePosterior, doses: FloatArray) -> Forecast:
    """What ``posterior`` says of measurements at ``doses`` ``(m, p)``.

    By its own rule where it has one; from its moments (the noise widened to the variance of the
    sum); else an equal mixture over :data:`DRAWS` draws under seed 0.
    """
    if isinstance(posterior, KnowsForecast):
        return posterior.forecast(doses)
    noise, df = posterior.noise_scale, posterior.noise_df
    if isinstance(posterior, KnowsMoments):
        mean, variance = posterior.moments(doses)
        scale = np.sqrt(variance + np.square(noise))
        return Forecast(mean[None], scale[None], np.ones(1), df)
    functions = posterior.draws(doses, DRAWS, 0)
    scales = np.broadcast_to(noise, functions.shape)
    return Forecast(functions, scales, np.full(DRAWS, 1 / DRAWS), df)


def moments(posterior: ResponsePosterior, doses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``(m, g)`` mean and variance of the noise-free response, from draws where need be."""
    if isinstance(posterior, KnowsMoments):
        return posterior.moments(doses)
    functions = posterior.draws(doses, DRAWS, 0)
    return functions.mean(axis=0), functions.var(axis=0, ddof=1)


def student_log_density(z: FloatArray, df: float) -> FloatArray:
    """Log density of standard Student-t variables; normal for infinite ``df``."""
    if math.isinf(df):
        return np.asarray(scipy.stats.norm.logpdf(z))
    half = (df + 1) / 2
    constant = math.lgamma(half) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return np.asarray(constant - half * np.log1p(np.square(z) / df))


def fit_noise(residuals: FloatArray) -> tuple[FloatArray, float]:
    """Scale ``(g,)`` and degrees of freedom of held-out ``residuals`` ``(m, g)``.

    Root mean squares by readout, shrunk towards that of all; then the tails, and one factor on
    all scales, of highest likelihood.
    """
    squares = np.square(residuals)
    total = squares.sum(axis=0) + SHRINKAGE * squares.mean()
    sd = np.sqrt(total / (len(residuals) + SHRINKAGE))
    sd = np.maximum(sd, 1e-6 * sd.max() + np.finfo(np.float64).tiny)
    z = residuals / sd
    found = [(df, _student_scale(z, df)) for df in DFS]
    scores = [student_log_density(z / c, df).mean() - math.log(c) for df, c in found]
    df, factor = found[int(np.argmax(scores))]
    return np.asarray(sd * factor), df


def _student_scale(z: FloatArray, df: float) -> float:
    """Scale of highest likelihood given ``df``, by expectation maximisation."""
    variance = max(float(np.square(z).mean()), 1e-300)
    if math.isinf(df):
        return math.sqrt(variance)
    for _ in range(30):
        variance = float(np.mean((df + 1) * np.square(z) / (df + np.square(z) / variance)))
        variance = max(variance, 1e-300)
    return math.sqrt(variance)
