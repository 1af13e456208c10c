"""A pool valued as a set: what each candidate adds to those before it, pinned and in the lab.

The set functions of :mod:`models.acquisition.joint` look at every candidate again after each
choice, so only a short list of the pool competes: those likely to be hits, those that may be
large, and those the model knows least of.
"""

from __future__ import annotations

import numpy as np

from models.acquisition.joint import greedy_batch
from models.acquisition.pool import PoolRequest, PoolScores
from models.bayes.predictive import Noise
from models.screen import BoolArray, Candidates, FloatArray, IntArray
from models.synergy.registry import ModelPosterior

SHORT_LIST = 1500
"""Candidates that compete for each of the three reasons."""
MOST_WAITING = 2000
"""Rows in the lab that are conditioned on, those with the largest spread."""


def joint_values(
    posterior: ModelPosterior,
    candidates: Candidates,
    usable: BoolArray,
    waiting: BoolArray,
    scores: PoolScores,
    kind: str,
    request: PoolRequest,
) -> FloatArray:
    """``(m,)`` gains of the first ``request.top`` in greedy order, which is that of the values.

    ``kind``: in :data:`models.acquisition.joint.KINDS`.
    ``waiting`` ``(m,)``: rows whose result is on its way (in the lab, pinned); they are conditioned
    on and not valued. All others get their hit probability minus one, below every gain.
    Draws, seed, threshold and incumbent are the request's.
    """
    known = np.flatnonzero(waiting)
    if len(known) > MOST_WAITING:
        known = np.sort(known[np.argsort(-scores.epistemic_sd[known])[:MOST_WAITING]])
    rows = np.concatenate([_short_list(scores, usable & ~waiting), known])
    at = candidates.select(rows)
    worlds = posterior.draws(at, request.draws, request.seed).numpy().astype(np.float64)
    noise = Noise(posterior.noise_scale(at).numpy().astype(np.float64), posterior.noise_df)
    batch = greedy_batch(
        worlds,
        noise,
        kind,
        request.top,
        threshold=request.threshold,
        incumbent=request.incumbent,
        pending=np.arange(len(rows) - len(known), len(rows)),
    )
    values = scores.hit_probability - 1.0
    values[rows[batch.rows]] = batch.gains
    return np.asarray(values)


def _short_list(scores: PoolScores, free: BoolArray) -> IntArray:
    """Rows that compete, ascending."""
    open_rows = np.flatnonzero(free)
    sd = scores.epistemic_sd
    chosen: set[int] = set()
    for value in (scores.hit_probability, scores.mean + 2.0 * sd, sd):
        order = np.argsort(-value[open_rows], kind="stable")[:SHORT_LIST]
        chosen.update(open_rows[order].tolist())
    return np.array(sorted(chosen), dtype=np.int64)
