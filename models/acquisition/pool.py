"""A whole pool through the posterior's draws, block by block: memory stays bounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.acquisition.functions import (
    ACQUISITIONS,
    AcquisitionContext,
    random_values,
    require_draws,
    thompson_values,
)
from models.bayes.predictive import Noise, probability_below
from models.screen import (
    BoolArray,
    Candidates,
    FloatArray,
    IntArray,
    ProgressCallback,
    StopCallback,
    Stopped,
    never_stop,
    no_progress,
)
from models.synergy.registry import ModelPosterior

ELEMENTS_PER_BLOCK = 1 << 20
"""Candidates times draws held at once."""


@dataclass(frozen=True)
class PoolRequest:
    """How to value a pool. ``top``: candidates that each world of ``thompson`` may name."""

    acquisition: str
    threshold: float
    kappa: float
    draws: int
    seed: int
    top: int


@dataclass(frozen=True)
class PoolScores:
    """One number per candidate of a pool, ``(m,)`` each.

    ``mean``, ``epistemic_sd``, ``observation_sd`` in the score's unit; ``hit_probability`` that a
    measurement exceeds the threshold; ``acquisition`` in the acquisition's own unit. Without a
    posterior the first four are one prior guess for all.
    """

    mean: FloatArray
    epistemic_sd: FloatArray
    observation_sd: FloatArray
    hit_probability: FloatArray
    acquisition: FloatArray
    seconds: float = 0.0


def summarise_pool(
    posterior: ModelPosterior,
    candidates: Candidates,
    usable: BoolArray,
    request: PoolRequest,
    *,
    on_progress: ProgressCallback = no_progress,
    should_stop: StopCallback = never_stop,
) -> PoolScores:
    """Summarise every candidate; ``usable`` ``(m,)`` are those that may compete for a batch."""
    m = len(candidates)
    result = PoolScores(np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m), np.zeros(m))
    leaders = _Leaders(request.draws, request.top)
    size = max(1, ELEMENTS_PER_BLOCK // request.draws)
    for start in range(0, m, size):
        if should_stop():
            raise Stopped
        on_progress("scoring", start, m)
        rows = slice(start, min(start + size, m))
        block = candidates.select(np.arange(rows.start, rows.stop))
        draws = require_draws(posterior.draws(block, request.draws, request.seed).numpy())
        scale = posterior.noise_scale(block).numpy().astype(np.float64)
        _summarise(result, rows, draws, Noise(scale, posterior.noise_df), request)
        if request.acquisition == "thompson":
            leaders.meet(np.where(usable[rows], draws, -np.inf), start)
    if request.acquisition == "thompson":
        return replace(result, acquisition=thompson_values(leaders.order, m))
    if request.acquisition == "random":
        return replace(result, acquisition=random_values(m, request.seed))
    return result


def _summarise(
    result: PoolScores, rows: slice, draws: FloatArray, noise: Noise, request: PoolRequest
) -> None:
    """One block into its rows of the result."""
    result.mean[rows] = draws.mean(axis=0)
    result.epistemic_sd[rows] = draws.std(axis=0, ddof=1)
    result.observation_sd[rows] = noise.sd()
    chance = 1.0 - probability_below(draws, request.threshold, noise)
    result.hit_probability[rows] = chance
    if request.acquisition == "hit_probability":
        result.acquisition[rows] = chance
    elif request.acquisition not in ("thompson", "random"):
        context = AcquisitionContext(request.threshold, request.kappa, noise, request.seed)
        result.acquisition[rows] = ACQUISITIONS[request.acquisition](draws, context)


class _Leaders:
    """The best candidates of each world so far, ``order`` ``(n, <= top)``, best first."""

    def __init__(self, n: int, top: int) -> None:
        self.top = top
        self.order: IntArray = np.empty((n, 0), dtype=np.int64)
        self._score: FloatArray = np.empty((n, 0))

    def meet(self, draws: FloatArray, first: int) -> None:
        """Let the candidates ``first, first + 1, ...`` compete."""
        new = np.broadcast_to(np.arange(first, first + draws.shape[1]), draws.shape)
        score = np.concatenate([self._score, draws], axis=1)
        order = np.concatenate([self.order, new], axis=1)
        best = np.argsort(-score, axis=1, kind="stable")[:, : self.top]
        self._score = np.take_along_axis(score, best, axis=1)
        self.order = np.take_along_axis(order, best, axis=1)
