"""The moving average of order two: the toy whose posterior is known.

y_t = e_t + theta_1 e_(t-1) + theta_2 e_(t-2) with standard normal e; the covariance of y is banded
with (1 + theta_1^2 + theta_2^2, theta_1 + theta_1 theta_2, theta_2). The likelihood comes from its
banded Cholesky factor, for a whole grid of parameters at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.screen import FloatArray, ScreenError


def simulate_moving_average(theta: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Series ``(N, n)`` for parameters ``(N, 2)``."""
    noise = torch.randn(
        (len(theta), n + 2), generator=generator, dtype=theta.dtype, device=theta.device
    )
    first, second = theta[:, :1], theta[:, 1:]
    return noise[:, 2:] + first * noise[:, 1:-1] + second * noise[:, :-2]


def log_likelihood(theta: FloatArray, series: FloatArray) -> FloatArray:
    """``(N, G)`` log likelihood in nats of each series ``(N, n)`` at each of ``(G, 2)`` parameters.

    Raises :class:`ScreenError` for parameters beyond those that can be inverted.
    """
    first, second = np.asarray(theta, np.float64).T
    if np.any(np.abs(second) > 1) or np.any(np.abs(first) > 1 + second + 1e-12):
        raise ScreenError("a moving average beyond the triangle of its prior")
    near, far = first + first * second, second
    variance = 1 + first**2 + second**2
    total = np.zeros((len(series), len(first)))
    # Factor L with L L' = covariance: rows hold (two before, one before, diagonal).
    diagonal = np.zeros((2, len(first)))
    below = np.zeros(len(first))
    whitened = np.zeros((2, len(series), len(first)))
    for t in range(series.shape[1]):
        two = far / diagonal[0] if t > 1 else np.zeros_like(first)
        one = (near - two * below) / diagonal[1] if t > 0 else np.zeros_like(first)
        own = np.sqrt(variance - two**2 - one**2)
        white = (series[:, t, None] - two * whitened[0] - one * whitened[1]) / own
        total -= np.log(own) + 0.5 * white**2
        diagonal, below = np.stack([diagonal[1], own]), one
        whitened = np.stack([whitened[1], white])
    return np.asarray(total - 0.5 * series.shape[1] * np.log(2 * np.pi))


@dataclass(frozen=True)
class GridPosterior:
    """``points`` ``(G, 2)``, ``weights`` ``(N, G)`` that add up to 1; ``mean``, ``sd`` ``(N,
    2)``."""

    points: FloatArray
    weights: FloatArray
    mean: FloatArray
    sd: FloatArray


def exact_posterior(series: FloatArray, cells: int = 160) -> GridPosterior:
    """The posterior of each series ``(N, n)`` under the uniform prior of the triangle, on the
    centres of a grid of ``cells`` a side over theta_2, and of theta_1 in proportion."""
    unit = (np.arange(cells) + 0.5) / cells
    second = 2 * unit - 1
    first = (2 * unit[None, :] - 1) * (1 + second[:, None])
    points = np.stack([first.ravel(), np.repeat(second, cells)], axis=1)
    # A cell at theta_2 is as wide as the triangle there.
    logs = log_likelihood(points, series) + np.log(1 + points[:, 1])
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ points
    return GridPosterior(points, weights, mean, np.sqrt(weights @ points**2 - mean**2))


def autocovariances(series: FloatArray, lags: int = 2) -> FloatArray:
    """``(N, lags)``: the hand-picked statistics that this toy is usually judged with."""
    n = series.shape[1]
    return np.stack([(series[:, k:] * series[:, : n - k]).mean(1) for k in range(1, lags + 1)], 1)
