"""Acquisition functions: the value of measuring each candidate, from whole-function draws.

``draws`` is ``(n, m)``: noise-free scores of ``m`` candidates in ``n`` worlds, ``n >= 2``. Every
function returns ``(m,)`` finite values, higher is better, and refuses draws that are not finite.

    values = ACQUISITIONS["ucb"](draws, AcquisitionContext(kappa=2.0))

Improvement over the best so far is in :mod:`.improvement`, information in :mod:`.information` and
:mod:`.pdbal`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from models.acquisition.draws import AcquisitionError, require_draws, require_number
from models.acquisition.improvement import (
    expected_improvement,
    probability_of_improvement,
    top_k,
)
from models.acquisition.information import bald, entropy, hit_information
from models.acquisition.pdbal import pdbal
from models.acquisition.world_distances import hit_set_distance
from models.bayes.predictive import Noise, probability_below
from models.screen import FloatArray, IntArray

__all__ = [
    "ACQUISITIONS",
    "LEAST_DRAWS",
    "Acquisition",
    "AcquisitionContext",
    "AcquisitionError",
    "bald",
    "entropy",
    "expected_improvement",
    "greedy",
    "hit_information",
    "hit_probability",
    "pdbal",
    "probability_of_improvement",
    "random_values",
    "require_draws",
    "thompson",
    "thompson_values",
    "top_k",
    "ucb",
]


def greedy(draws: FloatArray) -> FloatArray:
    """Posterior mean: a_j = (1/n) sum_i f_ij."""
    return np.asarray(require_draws(draws).mean(axis=0))


def ucb(draws: FloatArray, kappa: float) -> FloatArray:
    """Upper confidence bound: a_j = mean_j + kappa * sd_j.

    ``sd_j`` is the standard deviation over draws (divisor n - 1): epistemic, without noise.
    """
    checked = require_draws(draws)
    weight = require_number("kappa", kappa, least=0.0)
    return np.asarray(checked.mean(axis=0) + weight * checked.std(axis=0, ddof=1))


def hit_probability(draws: FloatArray, threshold: float, noise: Noise | None = None) -> FloatArray:
    """P(score > threshold): a_j = (1/n) sum_i P(f_ij + e_j > threshold).

    ``noise`` is the law of e_j; without it a hit is judged by the noise-free score, and a_j is
    the share of draws above the threshold.
    """
    checked = require_draws(draws)
    require_number("the hit threshold", threshold)
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


@dataclass(frozen=True)
class AcquisitionContext:
    """What the functions may need beside the draws.

    ``threshold``: above it a score is a hit. ``kappa``: of ``ucb``. ``noise``: law of a
    measurement. ``seed``: of ``random``. ``incumbent``: best score so far, from data, and ``xi``:
    improvement not worth counting. ``top_k``: how many are the best. Of the pool, where the draws
    are a part of it: ``hits`` ``(n,)`` in each world and ``distance`` ``(n, n)`` between worlds;
    found from the draws otherwise, the distance as that of their sets of hits.
    """

    threshold: float = 0.0
    kappa: float = 1.0
    noise: Noise | None = None
    seed: int = 0
    incumbent: float | None = None
    xi: float = 0.0
    top_k: int = 1
    hits: FloatArray | None = None
    distance: FloatArray | None = None


def _pdbal(draws: FloatArray, context: AcquisitionContext) -> FloatArray:
    distance = context.distance
    if distance is None:
        distance = hit_set_distance(draws, context.threshold)
    return pdbal(draws, context.noise, distance)


Acquisition = Callable[[FloatArray, AcquisitionContext], FloatArray]

ACQUISITIONS: Mapping[str, Acquisition] = MappingProxyType(
    {
        "greedy": lambda draws, _: greedy(draws),
        "ucb": lambda draws, context: ucb(draws, context.kappa),
        "thompson": lambda draws, _: thompson(draws),
        "hit_probability": lambda draws, context: hit_probability(
            draws, context.threshold, context.noise
        ),
        "expected_improvement": lambda draws, context: expected_improvement(
            draws, context.incumbent, context.xi
        ),
        "probability_of_improvement": lambda draws, context: probability_of_improvement(
            draws, context.incumbent, context.xi
        ),
        "top_k": lambda draws, context: top_k(draws, context.top_k),
        "entropy": lambda draws, context: entropy(draws, context.noise),
        "bald": lambda draws, context: bald(draws, context.noise),
        "hit_information": lambda draws, context: hit_information(
            draws, context.threshold, context.noise, context.hits
        ),
        "pdbal": _pdbal,
        "random": lambda draws, context: random_values(draws.shape[1], context.seed),
    }
)
"""Every acquisition by name. ``random``, ``thompson``, ``top_k`` look at the pool as a whole;
the others may be computed block by block, ``hit_information`` and ``pdbal`` given what the
context says of the pool."""

LEAST_DRAWS: Mapping[str, int] = MappingProxyType(dict.fromkeys(ACQUISITIONS, 2) | {"pdbal": 3})
"""Fewest draws from which each can be computed."""
