"""Intervals of many small posteriors at once by adaptive importance sampling.

A Laplace approximation is short where a posterior is bent: along a ridge the curvature at the mode
says little of where the ridge ends. Here draws come first from Student-t distributions around the
mode with the Laplace covariance, as it is and widened, then from ones with the moments of what was
found so far. Each draw counts by the posterior over the density of the whole mixture (Veach &
Guibas, SIGGRAPH 1995; Cappe et al., Stat Comput 18 (2008), 447). Moments are of weights truncated
after Ionides, J Comput Graph Stat 17 (2008), 295, so that one draw does not set them; what is
returned is not truncated: that would cut tails. The design is quasi-random and the same for every
posterior: the same data give the same intervals, whoever is asked for beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2
from scipy.stats.qmc import Sobol

from models.screen import FloatArray, StopCallback, Stopped

LogPosterior = Callable[[FloatArray], FloatArray]
"""Points ``(b, n, p)`` to log densities ``(b, n)``, each up to a constant of its own row."""

_FREEDOM = 6.0
_ROUNDS = ((256, 1.0), (512, 1.8), (512, 1.1), (512, 1.1), (512, 1.1))
_FROM_MODE = 2  # rounds around the mode; the others follow what was found
_KEPT = 0.05  # of the Laplace covariance, so that no adapted one is singular


@dataclass(frozen=True)
class WeightedDraws:
    """``points``: ``(b, n, p)``. ``weight``: ``(b, n)``, each row sums to 1."""

    points: FloatArray
    weight: FloatArray

    @property
    def effective(self) -> FloatArray:
        """``(b,)`` how many independent draws they are worth (Kish)."""
        return np.asarray(1.0 / np.square(self.weight).sum(1), dtype=np.float64)

    def sd(self) -> FloatArray:
        """``(b, p)`` standard deviations of the posteriors."""
        mean = np.einsum("bn,bnp->bp", self.weight, self.points)
        square = np.einsum("bn,bnp->bp", self.weight, np.square(self.points - mean[:, None]))
        return np.asarray(np.sqrt(square), dtype=np.float64)

    def quantile(self, values: FloatArray, share: float) -> FloatArray:
        """``(b, k)`` quantiles of ``values`` ``(b, n, k)``, one for each draw."""
        order = np.argsort(values, axis=1, kind="stable")
        ordered = np.take_along_axis(values, order, axis=1)
        weight = np.take_along_axis(np.broadcast_to(self.weight[..., None], order.shape), order, 1)
        middle = np.cumsum(weight, axis=1) - 0.5 * weight
        upper = np.clip((middle < share).sum(axis=1, keepdims=True), 1, order.shape[1] - 1)
        low, high = (np.take_along_axis(middle, at, 1) for at in (upper - 1, upper))
        rest = np.clip((share - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
        below, above = (np.take_along_axis(ordered, at, 1) for at in (upper - 1, upper))
        return np.asarray((below + rest * (above - below))[:, 0], dtype=np.float64)


def sample_posteriors(
    log_posterior: LogPosterior, mode: FloatArray, precision: FloatArray, should_stop: StopCallback
) -> WeightedDraws:
    """Weighted draws of ``b`` posteriors with modes ``(b, p)`` and Laplace precisions
    ``(b, p, p)``. A density that is not finite counts 0. Raises ``Stopped``."""
    laplace = np.linalg.inv(precision)
    parts: list[tuple[FloatArray, FloatArray, int]] = []
    points, level = np.empty((len(mode), 0, mode.shape[1])), np.empty((len(mode), 0))
    weight = level
    for number, (n, scale) in enumerate(_ROUNDS):
        if should_stop():
            raise Stopped
        centre, covariance = mode, laplace
        if number >= _FROM_MODE:
            centre, covariance = _moments(points, _truncated(weight))
            covariance = covariance + _KEPT * laplace
        factor = scale * np.linalg.cholesky(covariance)
        drawn = centre[:, None] + _design(n, mode.shape[1], number) @ np.swapaxes(factor, 1, 2)
        points = np.concatenate([points, drawn], axis=1)
        level = np.concatenate([level, log_posterior(drawn)], axis=1)
        parts.append((centre, factor, n))
        weight = _weights(level, points, parts)
    return WeightedDraws(points, weight)


@cache
def _design(n: int, p: int, number: int) -> FloatArray:
    """``(n, p)`` points of a standard Student-t distribution, evenly spread."""
    even = Sobol(p + 1, scramble=True, rng=np.random.default_rng(number)).random(n)
    even = np.clip(even, 1e-12, 1.0 - 1e-12)
    radius = np.sqrt(chi2.ppf(even[:, p], _FREEDOM) / _FREEDOM)
    return np.asarray(ndtri(even[:, :p]) / radius[:, None], dtype=np.float64)


def _moments(points: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean = np.einsum("bn,bnp->bp", weight, points)
    away = points - mean[:, None]
    covariance = np.swapaxes(away * weight[..., None], 1, 2) @ away
    return np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)


def _weights(
    level: FloatArray, points: FloatArray, parts: list[tuple[FloatArray, FloatArray, int]]
) -> FloatArray:
    """``(b, n)`` posterior over mixture."""
    p = points.shape[2]
    density = np.full(level.shape, -np.inf)
    for centre, factor, n in parts:
        away = np.linalg.inv(factor) @ np.swapaxes(points - centre[:, None], 1, 2)
        bent = -0.5 * (_FREEDOM + p) * np.log1p(np.square(away).sum(1) / _FREEDOM)
        size = np.log(np.einsum("bii->bi", factor)).sum(1)
        density = np.logaddexp(density, np.log(n) + bent - size[:, None])
    ratio = np.where(np.isfinite(level), level, -np.inf) - density
    weight = np.exp(ratio - ratio.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


def _truncated(weight: FloatArray) -> FloatArray:
    """No weight above one over the square root of the number of draws."""
    weight = np.minimum(weight, weight.shape[1] ** -0.5)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)
