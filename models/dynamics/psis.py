"""Pareto-smoothed importance sampling: can these weights be trusted?

The largest weights are fitted by a generalised Pareto distribution; its shape k says how heavy
their tail is. Below 0.7 estimates from them are reliable, above 1 they do not even have a mean.
Sources: Vehtari, Simpson, Gelman, Yao & Gabry 2024 (JMLR 25(72)); fit: Zhang & Stephens 2009
(Technometrics 51).
"""

from __future__ import annotations

import math

import numpy as np

from models.screen import FloatArray, ScreenError

RELIABLE = 0.7
FEWEST_TAIL = 5
_FURTHEST = 1e-100
"""Share of the largest excess that a tail's quartile must have, for its shape to be a number."""


def pareto_shape(log_weights: FloatArray) -> FloatArray:
    """k-hat of each column of ``(K, N)`` log weights, ``(N,)``; infinite if no tail can be fitted.

    The tail is the largest min(K / 5, 3 sqrt K) weights. Raises :class:`ScreenError` for weights
    that are NaN or for fewer than 25 samples.
    """
    return np.array([_fit(column)[1] for column in _checked(log_weights).T])


def smoothed(log_weights: FloatArray) -> FloatArray:
    """Log weights ``(K, N)`` with the tail replaced by quantiles of its fit, normalised."""
    weights = _checked(log_weights)
    found = np.empty_like(weights)
    for n in range(weights.shape[1]):
        column = weights[:, n] - weights[:, n].max()
        (tail, sigma, cut), k = _fit(column)
        if np.isfinite(k):
            ranks = (np.arange(len(tail)) + 0.5) / len(tail)
            quantiles = sigma * np.expm1(-k * np.log1p(-ranks)) / k if k else -np.log1p(-ranks)
            column[tail] = np.minimum(np.log(quantiles + math.exp(cut)), 0.0)
        found[:, n] = column - np.logaddexp.reduce(column)
    return found


def _checked(log_weights: FloatArray) -> FloatArray:
    weights = np.asarray(log_weights, np.float64)
    if weights.ndim != 2 or len(weights) < 25:
        raise ScreenError(f"PSIS needs (samples, series) with 25 samples, got {weights.shape}")
    if np.any(np.isnan(weights)) or np.any(weights == np.inf):
        raise ScreenError("log weights hold NaN or infinity")
    return weights


def _fit(column: FloatArray) -> tuple[tuple[np.ndarray, float, float], float]:
    """Tail rows (ascending), scale, log cut-off; and k-hat."""
    count = len(column)
    size = math.ceil(min(0.2 * count, 3 * math.sqrt(count)))
    order = np.argsort(column, kind="stable")
    tail, top = order[count - size :], column.max()
    cut = float(column[order[count - size - 1]] - top)
    excess = np.exp(column[tail] - top) - math.exp(cut)
    if size < FEWEST_TAIL or not excess[_quartile(size)] > _FURTHEST * excess[-1]:
        return (tail, math.nan, cut), math.inf
    k, sigma = _pareto(excess)
    return (tail, sigma, cut), k


def _quartile(size: int) -> int:
    return int(size / 4 + 0.5) - 1


def _pareto(excess: FloatArray) -> tuple[float, float]:
    """Shape and scale of a generalised Pareto distribution of ascending excesses.

    Zhang & Stephens' posterior mean of theta over a data-made grid, with Vehtari et al.'s weak
    prior that draws k towards 1/2 as if ten more excesses had been seen.
    """
    n = len(excess)
    grid_size = 30 + int(math.sqrt(n))
    quartile = excess[_quartile(n)]
    steps = 1 - np.sqrt(grid_size / (np.arange(grid_size) + 0.5))
    theta = 1 / excess[-1] + steps / (3 * quartile)
    shape = np.log1p(-theta[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-theta / shape) - shape - 1)
    weight = 1 / np.exp(profile - profile[:, None]).sum(axis=1)
    best = float((theta * weight).sum() / weight.sum())
    k = float(np.log1p(-best * excess).mean())
    sigma = -k / best
    return (n * k + 10 * 0.5) / (n + 10), sigma
