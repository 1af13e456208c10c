"""Weights of a mixture of predictive distributions that maximise its held-out log density.

    max_w  (1/m) sum_j log sum_k w_k p_k(y_j)     w on the simplex

Stacking of predictive distributions: Yao, Vehtari, Simpson & Gelman, Bayesian Analysis 2018,
eq. 4. The problem is convex. For gradients g_k = (1/m) sum_j p_kj / sum_l w_l p_lj concavity gives
f(best) - f(w) <= max_k g_k - 1, so that every answer carries the proof of how good it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize

from models.screen import FloatArray, IntArray, ScreenError

TOLERANCE = 1e-8
"""Nats per observation that a better mixture could still gain."""
EM_STEPS = 30
NEWTON_STEPS = 200
RIDGE = 1e-11


class StackingError(ArithmeticError):
    """The solver did not reach :data:`TOLERANCE`; the message says how far it came."""


@dataclass(frozen=True)
class Stacking:
    """``weights`` ``(k,)`` on the simplex, ``elpd`` of the mixture (nats per observation) and
    ``gap``, an upper bound on what any other weights could add to it."""

    weights: FloatArray
    elpd: float
    gap: float


def stack(log_density: FloatArray) -> Stacking:
    """Best weights for ``log_density`` ``(k, m)``: log p_k(y_j) of ``k`` models, held out.

    Models that predict the same share their weight in any way. Exact to :data:`TOLERANCE`: EM to
    come near, then Newton steps on F(w) = sum(w) - mean log(sum_k w_k p_kj) over w >= 0, whose
    minimum lies on the simplex by itself (Kim, Carbonetto, Stephens & Anitescu 2020,
    proposition 3.2). Raises :class:`ScreenError` for densities that cannot be compared.
    """
    density, shift = _relative(log_density)
    weights = np.full(len(density), 1.0 / len(density))
    for _ in range(EM_STEPS):
        weights = weights * _gradient(density, weights)
    gap = _gap(density, weights)
    for _ in range(NEWTON_STEPS):
        if gap <= TOLERANCE:
            break
        weights = _newton_step(density, weights)
        gap = _gap(density, weights)
    if gap > TOLERANCE:
        raise StackingError(f"stacking stopped {gap:.1e} nats from the best weights")
    return Stacking(weights, float(np.mean(np.log(weights @ density) + shift)), gap)


def allot(weights: FloatArray, n: int, seed: int) -> IntArray:
    """``(n,)`` component of each of ``n`` draws: systematic resampling, then shuffled.

    Every component gets ``n w_k`` rounded up or down, and any beginning of the draws is mixed.
    Deterministic given ``n`` and ``seed``.
    """
    rng = np.random.default_rng([seed, n])
    points = (np.arange(n) + rng.random()) / n
    ends = np.cumsum(weights) / np.sum(weights)
    ends[-1] = 1.0
    return rng.permutation(np.searchsorted(ends, points, side="right")).astype(np.int64)


def _relative(log_density: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Densities over the best of each observation, and the logarithm of that best."""
    table = np.asarray(log_density, np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ScreenError(f"stacking needs (models, observations), not {table.shape}")
    if np.isnan(table).any() or np.isposinf(table).any():
        raise ScreenError("a held-out log density is NaN or infinite: a model's fit is broken")
    shift = table.max(axis=0)
    if np.isneginf(shift).any():
        raise ScreenError("no model gives an observation any density: nothing can be stacked")
    return np.exp(table - shift), shift


def _gradient(density: FloatArray, weights: FloatArray) -> FloatArray:
    return np.asarray((density / (weights @ density)).mean(axis=1))


def _gap(density: FloatArray, weights: FloatArray) -> float:
    return float(_gradient(density, weights).max() - 1.0)


def _loss(density: FloatArray, weights: FloatArray) -> float:
    mixed = weights @ density
    return float(weights.sum() - np.log(mixed).mean()) if np.all(mixed > 0) else np.inf


def _newton_step(density: FloatArray, weights: FloatArray) -> FloatArray:
    """One step of sequential quadratic programming with backtracking, back on the simplex.

    With A_kj = p_kj / sum_l w_l p_lj the quadratic model of F is x'Hx / 2 - c'x over x >= 0,
    H = AA' / m and c = 2 mean(A) - 1, a non-negative least-squares problem (Kim et al. 2020,
    eq. 10). Between w and its solution the convex F falls.
    """
    scaled = density / (weights @ density)
    mean = scaled.mean(axis=1)
    curvature = scaled @ scaled.T / scaled.shape[1]
    # Models that predict the same make the curvature singular; the ridge shares between them.
    curvature[np.diag_indices_from(curvature)] += RIDGE * np.trace(curvature)
    factor = scipy.linalg.cholesky(curvature, lower=True)
    target = scipy.linalg.solve_triangular(factor, 2.0 * mean - 1.0, lower=True)
    direction = scipy.optimize.nnls(factor.T, target)[0] - weights
    before, fall = _loss(density, weights), float((1.0 - mean) @ direction)
    step = 1.0
    while step > 1e-6:
        moved = weights + step * direction
        if _loss(density, moved) <= before + 1e-4 * step * fall:
            return np.asarray(moved / moved.sum())
        step /= 2
    return np.asarray(weights * mean, dtype=np.float64)
