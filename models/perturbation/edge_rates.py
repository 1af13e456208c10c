"""q-values of edges, from analyses whose false edges are known to be false."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from models.screen import BoolArray, FloatArray

LEAST = 0.02
"""Pairs less probable than this do not shape the curve: they are most pairs, and never called."""
SURE = 1e-3
"""Probabilities count as no nearer to 0 and 1 than this."""


def edge_q_values(
    probability: FloatArray,
    controls: list[FloatArray],
    rebuilt: list[tuple[FloatArray, BoolArray]],
) -> FloatArray:
    """``(g, g)`` least false-discovery rate at which each edge is called; 1 on the diagonal.

    The larger of two estimates. Rebuilt networks (``probability`` found and edges that are true),
    all pooled: a rising curve turns probabilities into frequencies, and the rate of all edges at
    least as probable is the mean of what is missing to 1 (Müller et al. 2004). ``controls``:
    number of pairs that controls put at least as high, over the number found (Storey, Tibshirani
    2003).
    """
    off = ~np.eye(len(probability), dtype=bool)
    values = probability[off]
    curve = fit_frequencies(
        np.concatenate([found[off] for found, _ in rebuilt]),
        np.concatenate([truth[off] for _, truth in rebuilt]),
    )
    order = np.argsort(-values, kind="stable")
    missing = 1 - frequencies(values, curve)
    calls = np.searchsorted(np.sort(-values), -values, side="right")
    running = np.cumsum(missing[order])[calls - 1] / calls
    null = np.sort(np.concatenate([-found[off] for found in controls]))
    noise = np.searchsorted(null, -values, side="right") / len(controls) / calls
    rate = np.minimum(np.maximum(running, noise), 1.0)
    # An edge is called whenever a less probable one is, so its rate cannot be the higher one.
    lowest = np.minimum.accumulate(rate[order][::-1])[::-1]
    q = np.empty_like(values)
    q[order] = lowest
    found_q = np.ones_like(probability)
    found_q[off] = q
    return found_q


def fit_frequencies(probability: FloatArray, truth: BoolArray) -> tuple[float, float]:
    """Intercept a and slope b > 0 of logit frequency = a + b logit probability.

    Logistic calibration (Platt 1999) with a and log b ~ N(0, 1): few edges leave probabilities as
    they are. Two numbers, since a free curve follows the accidents of a hundred edges.
    """
    seen = probability > LEAST
    log_odds, real = _log_odds(probability[seen]), truth[seen].astype(np.float64)

    def loss(point: FloatArray) -> tuple[float, FloatArray]:
        """Negative log posterior of (a, log b), nats, and its gradient ``(2,)``."""
        slope = np.exp(point[1])
        odds = point[0] + slope * log_odds
        excess = expit(odds) - real
        value = (np.logaddexp(0, odds) - real * odds).sum() + 0.5 * (point**2).sum()
        gradient = np.array([excess.sum(), slope * (excess * log_odds).sum()]) + point
        return float(value), gradient

    found = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return float(found[0]), float(np.exp(found[1]))


def frequencies(probability: FloatArray, curve: tuple[float, float]) -> FloatArray:
    """How often edges of these probabilities are true; the shape of ``probability``."""
    return np.asarray(expit(curve[0] + curve[1] * _log_odds(probability)))


def _log_odds(probability: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(probability, SURE, 1 - SURE)))
