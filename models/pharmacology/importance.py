"""Intervals of many small posteriors at once by adaptive importance sampling.

A Laplace approximation is short where a posterior is bent: along a ridge the curvature at the mode
says little of where the ridge ends. Here draws come first from Student-t distributions with the
moments of the Laplace approximation and of tempered ones, under which the data count for less and
the prior in full: they widen what the data bend, and nothing beyond the prior. Then from ones with
the moments of what was found so far. Each draw counts by the posterior over the density of the
whole mixture (Veach & Guibas, SIGGRAPH 1995; Cappe et al., Stat Comput 18 (2008), 447). On the way
moments are of weights truncated after Ionides, J Comput Graph Stat 17 (2008), 295, so that one draw
does not set them; what is returned is not truncated: that would cut tails. The design is
quasi-random and the same for every posterior: the same data give the same intervals, whoever is
asked for beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_TEMPERED = (1.0, 0.3, 0.1, 0.03, 0.01)  # what the data count for, a round each
_AT_FIRST, _WIDER = 512, 1.1
_FOLLOWING = 3  # rounds with the moments of what was found
_LATER, _WIDER_LATER = 1024, 1.2
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
        return np.asarray(self.quantiles(values, (share,))[0], dtype=np.float64)

    def quantiles(self, values: FloatArray, shares: Sequence[float]) -> FloatArray:
        """``(s, b, k)`` quantiles of ``values`` ``(b, n, k)`` at each of the shares."""
        order = np.argsort(values, axis=1, kind="stable")
        ordered = np.take_along_axis(values, order, axis=1)
        weight = np.take_along_axis(np.broadcast_to(self.weight[..., None], order.shape), order, 1)
        middle = np.cumsum(weight, axis=1) - 0.5 * weight
        return np.stack([_quantile(ordered, middle, share) for share in shares])


def _quantile(ordered: FloatArray, middle: FloatArray, share: float) -> FloatArray:
    """``(b, k)`` between two of ``ordered`` ``(b, n, k)``, whose shares are ``middle``."""
    upper = np.clip((middle < share).sum(axis=1, keepdims=True), 1, middle.shape[1] - 1)
    low, high = (np.take_along_axis(middle, at, 1) for at in (upper - 1, upper))
    rest = np.clip((share - low) / np.maximum(high - low, 1e-300), 0.0, 1.0)
    below, above = (np.take_along_axis(ordered, at, 1) for at in (upper - 1, upper))
    return np.asarray((below + rest * (above - below))[:, 0], dtype=np.float64)


def sample_posteriors(
    log_posterior: LogPosterior, mode: FloatArray, precision: FloatArray, should_stop: StopCallback
) -> WeightedDraws:
    """Weighted draws of ``b`` posteriors with modes ``(b, p)`` and Laplace precisions
    ``(b, p, p)``, of unknowns with standard normal priors. A density that is not finite counts 0.
    Raises ``Stopped``."""
    found = _Found.nothing(*mode.shape)
    for share in _TEMPERED:
        moments = _tempered(mode, precision, share)
        found = found.extended(log_posterior, moments, _WIDER, _AT_FIRST, should_stop)
    kept = _KEPT * np.linalg.inv(precision)
    for _ in range(_FOLLOWING):
        centre, covariance = _moments(found.points, _truncated(found.weight()))
        moments = (centre, covariance + kept)
        found = found.extended(log_posterior, moments, _WIDER_LATER, _LATER, should_stop)
    return WeightedDraws(found.points, found.weight())


@dataclass(frozen=True)
class _Part:
    """``n`` draws of the Student-t distributions with ``centre`` ``(b, p)`` and the ``factor``
    ``(b, p, p)`` of their spread."""

    centre: FloatArray
    factor: FloatArray
    n: int

    def log_density(self, points: FloatArray) -> FloatArray:
        """``(b, m)`` at ``points`` ``(b, m, p)``, times ``n``, up to a constant of all parts."""
        away = np.linalg.inv(self.factor) @ np.swapaxes(points - self.centre[:, None], 1, 2)
        freedom = _FREEDOM + points.shape[2]
        bent = -0.5 * freedom * np.log1p(np.square(away).sum(1) / _FREEDOM)
        size = np.log(np.einsum("bii->bi", self.factor)).sum(1)
        return np.asarray(np.log(self.n) + bent - size[:, None], dtype=np.float64)


@dataclass(frozen=True)
class _Found:
    """``points`` ``(b, n, p)``, their log posterior ``level`` ``(b, n)``, and the log ``density``
    ``(b, n)`` of the mixture of the ``parts`` that they came from."""

    points: FloatArray
    level: FloatArray
    density: FloatArray
    parts: tuple[_Part, ...]

    @classmethod
    def nothing(cls, b: int, p: int) -> _Found:
        """No draws yet."""
        return cls(np.empty((b, 0, p)), np.empty((b, 0)), np.empty((b, 0)), ())

    def extended(
        self,
        log_posterior: LogPosterior,
        moments: tuple[FloatArray, FloatArray],
        wider: float,
        n: int,
        should_stop: StopCallback,
    ) -> _Found:
        """With ``n`` more draws around these moments, spread ``wider`` times. May be stopped."""
        if should_stop():
            raise Stopped
        centre, covariance = moments
        factor = np.asarray(wider * np.linalg.cholesky(covariance), dtype=np.float64)
        part = _Part(centre, factor, n)
        even = _design(n, centre.shape[1], len(self.parts))
        drawn = centre[:, None] + even @ np.swapaxes(factor, 1, 2)
        points = np.concatenate([self.points, drawn], axis=1)
        density = np.full(drawn.shape[:2], -np.inf)
        for earlier in self.parts:
            density = np.logaddexp(density, earlier.log_density(drawn))
        density = np.concatenate([self.density, density], axis=1)
        return _Found(
            points,
            np.concatenate([self.level, log_posterior(drawn)], axis=1),
            np.logaddexp(density, part.log_density(points)),
            (*self.parts, part),
        )

    def weight(self) -> FloatArray:
        """``(b, n)`` posterior over mixture; each row sums to 1."""
        ratio = np.where(np.isfinite(self.level), self.level, -np.inf) - self.density
        weight = np.exp(ratio - ratio.max(axis=1, keepdims=True))
        return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


def _tempered(
    mode: FloatArray, precision: FloatArray, share: float
) -> tuple[FloatArray, FloatArray]:
    """Mean ``(b, p)`` and covariance ``(b, p, p)`` where the data count for ``share``.

    The precision is ``share H + I`` with ``H`` that of the data, and at the mode the data pull
    against the prior by ``mode``: the mean moves by ``-(1 - share) (share H + I)^-1 mode``.
    """
    eye = np.eye(mode.shape[1])
    covariance = np.linalg.inv(share * (precision - eye) + eye)
    moved = (1.0 - share) * np.einsum("bij,bj->bi", covariance, mode)
    return mode - moved, np.asarray(covariance, dtype=np.float64)


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


def _truncated(weight: FloatArray) -> FloatArray:
    """No weight above one over the square root of the number of draws."""
    weight = np.minimum(weight, weight.shape[1] ** -0.5)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)
