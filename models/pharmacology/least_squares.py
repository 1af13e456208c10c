"""Many small least-squares problems at once: batched Levenberg-Marquardt.

Marquardt, SIAM J Appl Math 11 (1963), 431. A normal prior on the parameters is one more residual
each, so that the mode is a maximum a posteriori and the matrix at it the Laplace precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.screen import BoolArray, FloatArray, IntArray, StopCallback, Stopped, never_stop

Problem = Callable[[FloatArray, IntArray], tuple[FloatArray, FloatArray]]
"""Parameters ``(r, p)`` of the problems numbered ``(r,)`` to residuals ``(r, n)`` in units of their
standard deviation and their derivatives ``(r, n, p)``."""

_FIRST_DAMPING, _EASIER, _HARDER = 1e-3, 0.2, 8.0
_SETTLED = 1e-9  # gain in nats of the log posterior
_MOST_DAMPING = 1e12


@dataclass(frozen=True)
class Minimum:
    """``theta``: ``(b, p)``. ``precision``: ``(b, p, p)`` Gauss-Newton matrix there. ``loss``:
    ``(b,)`` half the sum of squared residuals. ``settled``: ``(b,)`` false where steps ran out or
    the residuals are not defined."""

    theta: FloatArray
    precision: FloatArray
    loss: FloatArray
    settled: BoolArray


def minimise(
    problem: Problem,
    start: FloatArray,
    *,
    steps: int = 60,
    largest_step: float = 2.0,
    should_stop: StopCallback = never_stop,
) -> Minimum:
    """Descend from ``start`` ``(b, p)``; a step that does not help is not taken.

    Problems that have settled are no longer evaluated. Raises ``Stopped``.
    """
    theta = np.array(start, dtype=np.float64)
    every = np.arange(len(theta))
    residual, jacobian = problem(theta, every)
    loss = 0.5 * np.square(residual).sum(-1)
    damping = np.full(len(theta), _FIRST_DAMPING)
    open_ = every
    for _ in range(steps):
        if should_stop():
            raise Stopped
        if not len(open_):
            break
        matrix, gradient = _normal_equations(residual, jacobian)
        step = _damped_step(matrix, gradient, damping[open_])
        step = np.clip(step, -largest_step, largest_step)
        trial = theta[open_] - step
        new_residual, new_jacobian = problem(trial, open_)
        new_loss = 0.5 * np.square(new_residual).sum(-1)
        better = new_loss <= loss[open_]
        done = better & (loss[open_] - new_loss <= _SETTLED) & (damping[open_] <= 1.0)
        rows = open_[better]
        theta[rows], loss[rows] = trial[better], new_loss[better]
        residual = np.where(better[:, None], new_residual, residual)
        jacobian = np.where(better[:, None, None], new_jacobian, jacobian)
        damping[open_] *= np.where(better, _EASIER, _HARDER)
        left = ~(done | (damping[open_] > _MOST_DAMPING))
        open_, residual, jacobian = open_[left], residual[left], jacobian[left]
    precision = _normal_equations(*problem(theta, every))[0]
    settled = np.isfinite(loss) & np.isfinite(precision).all(axis=(1, 2))
    settled[open_] = False
    return Minimum(theta, precision, loss, settled)


def _normal_equations(residual: FloatArray, jacobian: FloatArray) -> tuple[FloatArray, FloatArray]:
    turned = np.swapaxes(jacobian, -1, -2)
    return turned @ jacobian, (turned @ residual[..., None])[..., 0]


def _damped_step(matrix: FloatArray, gradient: FloatArray, damping: FloatArray) -> FloatArray:
    diagonal = np.einsum("bii->bi", matrix)
    damped = matrix.copy()
    np.einsum("bii->bi", damped)[...] += diagonal * damping[:, None]
    return np.asarray(np.linalg.solve(damped, gradient[..., None])[..., 0])


def numeric_jacobian(
    residual: Callable[[FloatArray], FloatArray], theta: FloatArray, step: float = 1e-5
) -> FloatArray:
    """``(r, n, p)`` central differences of residuals ``(r, n)`` by parameters ``(r, p)``."""
    columns = []
    for k in range(theta.shape[1]):
        shift = np.zeros(theta.shape[1])
        shift[k] = step
        columns.append((residual(theta + shift) - residual(theta - shift)) / (2.0 * step))
    return np.stack(columns, axis=-1)
