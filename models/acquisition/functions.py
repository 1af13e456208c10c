"""Acquisition functions: the value of measuring each candidate, from whole-function draws.

``draws`` is ``(n, m)``: noise-free scores of ``m`` candidates in ``n`` worlds, ``n >= 2``. Every
function returns ``(m,)`` finite values, higher is better, and refuses draws that are not finite.

    values = ACQUISITIONS["ucb"](draws, AcquisitionContext(kappa=2.0))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.bayes.predictive import Noise, probability_below
from models.screen import FloatArray, IntArray


class AcquisitionError(ValueError):
    """Draws that no acquisition may see: too few, or not finite."""


def greedy(draws: FloatArray) -> FloatArray:
    """Posterior mean: a_j = (1/n) sum_i f_ij."""
    return np.asarray(require_draws(draws).mean(axis=0))


def ucb(draws: FloatArray, kappa: float) -> FloatArray:
    """Upper confidence bound: a_j = mean_j + kappa * sd_j.

    ``sd_j`` is the standard deviation over draws (divisor n - 1): epistemic, without noise.
    """
    checked = require_draws(draws)
    if not (np.isfinite(kappa) and kappa >= 0):
        raise AcquisitionError(f"kappa is {kappa}, expected a number that is not negative")
    return np.asarray(checked.mean(axis=0) + kappa * checked.std(axis=0, ddof=1))


def hit_probability(draws: FloatArray, threshold: float, noise: Noise | None = None) -> FloatArray:
    """P(score > threshold): a_j = (1/n) sum_i P(f_ij + e_j > threshold).

    ``noise`` is the law of e_j; without it a hit is judged by the noise-free score, and a_j is
    the share of draws above the threshold.
    """
    checked = require_draws(draws)
    if not np.isfinite(threshold):
        raise AcquisitionError(f"the hit threshold is {threshold}")
    if noise is None:
        return np.asarray((checked > threshold).mean(axis=0))
    return 1.0 - probability_below(checked, threshold, noise)


def thompson(draws: FloatArray) -> FloatArray:
    """Thompson sampling for a whole batch: slot k goes to the best of world k.

    Worlds take turns; when all had one, each names its second best, and so on. With r_ij the rank
    of candidate j in world i (0 = best), a_j = -min_i (n r_ij + i), so that sorting by a_j gives
    that order without repeats. Equal scores keep the order of the candidates.
    """
    checked = require_draws(draws)
    order = np.argsort(-checked, axis=1, kind="stable")
    return thompson_values(order, checked.shape[1])


def thompson_values(order: IntArray, m: int) -> FloatArray:
    """Values from the candidates that each world names, ``order`` ``(n, top)``, best first.

    Candidates that no world names get -n * (top + 1), below all others.
    """
    n, top = order.shape
    turn = n * np.arange(top)[None, :] + np.arange(n)[:, None]
    values = np.full(m, -float(n * (top + 1)))
    np.maximum.at(values, order.ravel(), -turn.ravel().astype(np.float64))
    return values


def random_values(m: int, seed: int) -> FloatArray:
    """Uniform numbers: an order that knows nothing."""
    return np.random.default_rng(seed).random(m)


def require_draws(draws: FloatArray) -> FloatArray:
    """``draws`` as float64, checked."""
    if draws.ndim != 2:
        raise AcquisitionError(f"draws have shape {draws.shape}, expected (n, m)")
    if draws.shape[0] < 2:
        raise AcquisitionError(f"{draws.shape[0]} draw(s) say nothing about uncertainty; need 2")
    if not np.all(np.isfinite(draws)):
        raise AcquisitionError("draws hold NaN or infinity; no candidate can be ranked by them")
    return np.asarray(draws, dtype=np.float64)


@dataclass(frozen=True)
class AcquisitionContext:
    """What the functions may need beside the draws."""

    threshold: float = 0.0
    kappa: float = 1.0
    noise: Noise | None = None
    seed: int = 0


Acquisition = Callable[[FloatArray, AcquisitionContext], FloatArray]

ACQUISITIONS: Mapping[str, Acquisition] = MappingProxyType(
    {
        "greedy": lambda draws, _: greedy(draws),
        "ucb": lambda draws, context: ucb(draws, context.kappa),
        "thompson": lambda draws, _: thompson(draws),
        "hit_probability": lambda draws, context: hit_probability(
            draws, context.threshold, context.noise
        ),
        "random": lambda draws, context: random_values(draws.shape[1], context.seed),
    }
)
"""Every acquisition by name. ``random`` and ``thompson`` look at the pool as a whole; the others
may be computed block by block."""
