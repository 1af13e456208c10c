"""Penalised logistic regression whose penalties are weighed by marginal likelihood.

Coefficients by iteratively reweighted least squares on ``deviance / 2 + b' S b / 2``, where ``S``
is a sum of given matrices with one weight each. A weight is learned from Laplace's approximation
of the marginal likelihood by the update of Fellner and Schall (Wood & Fasiolo 2017, equation 6),
with a weak gamma prior (``SHAPE``, ``RATE``) so that nothing runs away where a handful of rows
says nothing. Standard errors are Bayesian: ``(X' W X + S)^-1`` (Wood 2017, section 6.10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from scipy.special import expit

from models.screen import FloatArray, ScreenError

SHAPE, RATE = 0.5, 0.005
"""Of the gamma prior of a weight, whose inverse is the variance of coefficients: about 0.01 to 1
costs nothing."""
MOST_STEPS = 100
TOLERANCE = 1e-8
"""Relative change of the penalised deviance at which the coefficients stand."""
LOG_WEIGHT_TOLERANCE = 0.02
LEAST_RIDGE = 1e-6
"""On every coefficient, the intercept too: a direction without data stays where it is."""


@dataclass(frozen=True)
class Penalty:
    """``matrix`` ``(d, d)`` on the columns from ``first`` on; ``rank`` of the matrix; ``weight``
    where it is known, ``None`` where it is learned."""

    first: int
    matrix: FloatArray
    rank: int
    weight: float | None = None


@dataclass(frozen=True)
class LogisticFit:
    """``coefficients`` ``(p,)`` and their ``covariance`` ``(p, p)``; ``freedom`` ``(p,)`` effective
    degrees of freedom of each; ``weights`` of the penalties; ``deviance`` of the rows."""

    coefficients: FloatArray
    covariance: FloatArray
    freedom: FloatArray
    weights: FloatArray
    deviance: float


def fit_logistic(
    design: FloatArray,
    hit: FloatArray,
    weight: FloatArray,
    penalties: Sequence[Penalty] = (),
    *,
    offset: FloatArray | None = None,
    start: FloatArray | None = None,
    tolerance: float = TOLERANCE,
) -> LogisticFit:
    """Fit ``logit P(hit) = offset + design b``; ``design`` ``(n, p)`` holds its own intercept.

    ``hit`` ``(n,)`` from 0 to 1, ``weight`` ``(n,)`` positive. Raises :class:`ScreenError` for no
    rows, values that are not finite, or a fit that does not come to rest.
    """
    _check(design, hit, weight)
    n, p = design.shape
    base = np.zeros(n) if offset is None else offset
    scale = np.array([1.0 if one.weight is None else one.weight for one in penalties])
    free = np.array([one.weight is None for one in penalties], dtype=bool)
    coefficients = np.zeros(p) if start is None else start.copy()
    penalty = _total(penalties, scale, p)
    objective = _objective(design, hit, weight, base, coefficients, penalty)
    for _ in range(MOST_STEPS):
        before = objective
        slope, curvature = _slopes(design, hit, weight, base, coefficients, penalty)
        step = scipy.linalg.cho_solve(scipy.linalg.cho_factor(curvature), slope)
        coefficients, objective = _damped(
            design, hit, weight, base, coefficients, step, penalty, objective
        )
        settled = before - objective <= tolerance * (abs(objective) + 1.0)
        if free.any():
            fresh = _reweighed(penalties, scale, free, coefficients, curvature)
            moved = float(np.abs(np.log(fresh / scale)).max())
            settled = settled and moved < LOG_WEIGHT_TOLERANCE
            scale = fresh
            penalty = _total(penalties, scale, p)
            objective = _objective(design, hit, weight, base, coefficients, penalty)
        if settled:
            return _finish(design, hit, weight, base, coefficients, penalty, scale)
    if free.any():
        # The optimum of a weight is flat where it no longer matters: the last one is as good.
        return _finish(design, hit, weight, base, coefficients, penalty, scale)
    raise ScreenError("a logistic regression did not come to rest; its columns may be alike")


def _check(design: FloatArray, hit: FloatArray, weight: FloatArray) -> None:
    n = len(design)
    if n == 0 or len(hit) != n or len(weight) != n:
        raise ScreenError("a regression needs rows, and one outcome and weight for each")
    if not (np.isfinite(design).all() and np.isfinite(hit).all() and np.isfinite(weight).all()):
        raise ScreenError("a regression needs finite columns, outcomes and weights")
    if np.any(weight <= 0) or np.any(hit < 0) or np.any(hit > 1):
        raise ScreenError("weights are positive, and an outcome lies between 0 and 1")


def _total(penalties: Sequence[Penalty], scale: FloatArray, p: int) -> FloatArray:
    total = LEAST_RIDGE * np.eye(p)
    for one, factor in zip(penalties, scale, strict=True):
        at = slice(one.first, one.first + len(one.matrix))
        total[at, at] += factor * one.matrix
    return total


def _objective(
    design: FloatArray, hit: FloatArray, weight: FloatArray, base: FloatArray,
    coefficients: FloatArray, penalty: FloatArray,
) -> float:  # fmt: skip
    logits = base + design @ coefficients
    loss = weight @ (np.logaddexp(0.0, logits) - hit * logits)
    return float(loss + 0.5 * coefficients @ penalty @ coefficients)


def _slopes(
    design: FloatArray, hit: FloatArray, weight: FloatArray, base: FloatArray,
    coefficients: FloatArray, penalty: FloatArray,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    p = expit(base + design @ coefficients)
    slope = design.T @ (weight * (hit - p)) - penalty @ coefficients
    scaled = design * (weight * p * (1 - p))[:, None]
    return slope, design.T @ scaled + penalty


def _damped(
    design: FloatArray, hit: FloatArray, weight: FloatArray, base: FloatArray,
    coefficients: FloatArray, step: FloatArray, penalty: FloatArray, objective: float,
) -> tuple[FloatArray, float]:  # fmt: skip
    """The full Newton step, halved until it does not lead uphill."""
    for _ in range(30):
        tried = coefficients + step
        value = _objective(design, hit, weight, base, tried, penalty)
        if value <= objective:
            return tried, value
        step = 0.5 * step
    return coefficients, objective


def _reweighed(
    penalties: Sequence[Penalty], scale: FloatArray, free: np.ndarray, coefficients: FloatArray,
    curvature: FloatArray,
) -> FloatArray:  # fmt: skip
    """One update of every weight that is learned."""
    inverse = np.linalg.inv(curvature)
    fresh = scale.copy()
    for k, one in enumerate(penalties):
        if not free[k]:
            continue
        at = slice(one.first, one.first + len(one.matrix))
        own = coefficients[at]
        learned = one.rank - scale[k] * float(np.sum(inverse[at, at] * one.matrix))
        fresh[k] = (max(learned, 0.0) + 2 * SHAPE) / (float(own @ one.matrix @ own) + 2 * RATE)
    return fresh


def _finish(
    design: FloatArray, hit: FloatArray, weight: FloatArray, base: FloatArray,
    coefficients: FloatArray, penalty: FloatArray, scale: FloatArray,
) -> LogisticFit:  # fmt: skip
    _, curvature = _slopes(design, hit, weight, base, coefficients, penalty)
    covariance = np.linalg.inv(curvature)
    covariance = 0.5 * (covariance + covariance.T)
    freedom = np.einsum("ij,ji->i", covariance, curvature - penalty)
    nothing = np.zeros_like(penalty)
    deviance = 2 * _objective(design, hit, weight, base, coefficients, nothing)
    return LogisticFit(coefficients, covariance, freedom, scale, deviance)
