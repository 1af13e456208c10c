"""Which directions of the readouts respond together, learned with the main effects.

    Y = F W + E,   rows of W ~ N(0, S),   E_ng ~ N(0, psi_g)

by expectation maximisation with inverse-Wishart shrinkage of S towards its diagonal and of psi
towards its mean. In the eigenvectors of S scaled by psi every direction is a problem of its own
(the orthogonal mixing of Bruinsma et al. 2020, section 2.2), which makes each step closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.screen import FloatArray

STEPS = 10
FACTOR_STRENGTH = 40.0
"""Rows that the shrinkage of S counts for."""
NOISE_STRENGTH = 5.0
"""Rows that the shrinkage of psi counts for."""
MAX_FACTORS = 16


@dataclass(frozen=True)
class ReadoutFactors:
    """``noise_sd`` ``(g,)``: root of psi. ``directions`` ``(g, r)``: orthonormal columns of the
    readouts divided by their noise. ``strength`` ``(r,)``: variance of the weights in each
    direction, ``rest`` in all others. ``weights`` ``(p, g)``: expected main effects. ``evidence``:
    log likelihood of the table, nats."""

    noise_sd: FloatArray
    directions: FloatArray
    strength: FloatArray
    rest: float
    weights: FloatArray
    evidence: float


@dataclass(frozen=True)
class _Step:
    """The expectations of one step; ``mean`` and ``variance`` ``(p', g)`` of rotated weights."""

    weights: FloatArray
    vectors: FloatArray
    values: FloatArray
    singular: FloatArray
    variance: FloatArray
    evidence: float


def fit_factors(features: FloatArray, values: FloatArray) -> ReadoutFactors:
    """Factors of ``values`` ``(n, g)`` given ``features`` ``(n, p)``.

    Deterministic; does not depend on the order of the rows beyond rounding.
    """
    n, p = features.shape
    svd = np.linalg.svd(features, full_matrices=False)
    size = np.square(values).mean(axis=0)
    size = size + 1e-6 * size.mean() + np.finfo(np.float64).tiny
    psi = 0.15 * size + 0.15 * size.mean()
    cov = np.diag(size) / max(float(np.square(features).mean()), 1e-12) / p
    for _ in range(STEPS):
        step = _expect(svd, values, cov, np.sqrt(psi))
        cov = _shrunk_covariance(step, np.sqrt(psi), p)
        error = np.square(values - features @ step.weights).sum(axis=0)
        spent = np.square(step.vectors) @ (step.singular[:, None] ** 2 * step.variance).sum(axis=0)
        error = error + psi * spent
        psi = (error + NOISE_STRENGTH * error.mean() / n) / (n + NOISE_STRENGTH)
    noise_sd = np.sqrt(psi)
    last = _expect(svd, values, cov, noise_sd)
    order = np.argsort(last.values)[::-1]
    kept = order[: min(MAX_FACTORS, len(order))]
    rest = last.values[order[len(kept) :]]
    return ReadoutFactors(
        noise_sd,
        last.vectors[:, kept],
        last.values[kept],
        float(rest.mean()) if len(rest) else 0.0,
        last.weights,
        last.evidence,
    )


def _expect(
    svd: tuple[FloatArray, FloatArray, FloatArray],
    values: FloatArray,
    cov: FloatArray,
    noise_sd: FloatArray,
) -> _Step:
    left, singular, right = svd
    scaled = values / noise_sd
    eigen, vectors = np.linalg.eigh(cov / np.outer(noise_sd, noise_sd))
    eigen = np.maximum(eigen, 1e-12)
    rotated = left.T @ scaled @ vectors
    total = singular[:, None] ** 2 * eigen + 1.0
    mean = singular[:, None] * eigen / total * rotated
    quadratic = np.square(scaled).sum() - np.square(rotated).sum() + (rotated**2 / total).sum()
    constant = len(values) * (np.log(noise_sd).sum() + 0.5 * len(noise_sd) * np.log(2 * np.pi))
    evidence = -0.5 * (quadratic + np.log(total).sum()) - constant
    weights = right.T @ mean @ vectors.T * noise_sd
    return _Step(weights, vectors, eigen, singular, eigen / total, float(evidence))


def _shrunk_covariance(step: _Step, noise_sd: FloatArray, p: int) -> FloatArray:
    unseen = p - len(step.singular)
    spread = step.variance.sum(axis=0) + unseen * step.values
    second = step.weights.T @ step.weights
    second += (step.vectors * spread) @ step.vectors.T * np.outer(noise_sd, noise_sd)
    own = np.diag(second) / p
    target = np.diag(0.5 * own + 0.5 * own.mean())
    return np.asarray((second + FACTOR_STRENGTH * target) / (p + FACTOR_STRENGTH))
