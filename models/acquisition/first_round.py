"""Before a model can be fitted: spread the measurements over compounds and cell lines."""

from __future__ import annotations

import math

import numpy as np

from models.acquisition.functions import random_values
from models.acquisition.pool import PoolScores
from models.acquisition.rules import Pool, RoundRules
from models.bayes.predictive import Noise, probability_below
from models.objectives.measured import MeasuredObjective
from models.screen import BoolArray, Candidates, FloatArray

MIN_BLOCKS = 5
"""Fewest measured blocks from which a model is fitted; with fewer the round is space-filling."""
PRIOR_SD = 10.0
"""Spread of scores, percentage points, that is assumed before anything was measured."""

CONSIDERED = 20_000
"""Of larger pools a random sample of this many candidates is spread out."""


def scores_without_model(
    measured: MeasuredObjective,
    blocks: Candidates,
    pool: Pool,
    usable: BoolArray,
    rules: RoundRules,
    seed: int,
) -> PoolScores:
    """One guess for all candidates, from the ``measured`` objective, and an order that is random
    or spreads out among what was measured, ``blocks``."""
    score, m = measured.value, len(pool.candidates)
    enough = len(score) >= MIN_BLOCKS
    mean = float(score.mean()) if enough else 0.0
    sd = float(score.std(ddof=1)) if enough else PRIOR_SD
    error = float(np.median(measured.noise_sd)) if len(score) else 0.0
    noise = Noise(np.full(m, max(math.hypot(sd, error), 1e-6)))
    chance = 1.0 - probability_below(np.full((1, m), mean), rules.hit_threshold, noise)
    if rules.acquisition == "random":
        values = random_values(m, seed)
    else:
        top = max(rules.ranked, rules.batch_size)
        values = space_filling(pool.candidates, usable, blocks, top, seed)
    return PoolScores(np.full(m, mean), np.full(m, sd), np.full(m, error), chance, values)


def why_no_model(found: int, rules: RoundRules) -> str:
    """Why a round with ``found`` usable blocks has no posterior, in words."""
    if rules.acquisition == "random":
        return "The rules ask for a random batch: no model was fitted."
    assumed = "scores are" if rules.seeks_score else "the objective is"
    return (
        f"Only {found} usable measured blocks, a model needs {MIN_BLOCKS}: this batch spreads "
        f"over compounds and cell lines, and its forecasts are the assumption that {assumed} "
        f"0 with a standard deviation of {PRIOR_SD:g}."
    )


def order_without_model(rules: RoundRules) -> str:
    """What decided the order of such a round, in words."""
    if rules.acquisition == "random":
        return "Chosen at random"
    return "Chosen to spread over compounds and cell lines, before any model"


def space_filling(
    candidates: Candidates, usable: np.ndarray, measured: Candidates, top: int, seed: int
) -> FloatArray:
    """``(m,)`` values whose order covers compounds and cell lines evenly.

    The ``top`` first are picked one by one, each among the ``usable`` (``(m,)`` bool) candidates
    with the least-used compounds and cell line, measured blocks counted, ties at random; they get
    values ``top, top - 1, ... 1``. All others get random values below 1.
    """
    random = np.random.default_rng(seed)
    values = random.random(len(candidates))
    rows = random.permutation(np.flatnonzero(usable))[:CONSIDERED]
    if not len(rows):
        return values
    a, b = candidates.compounds[rows].T
    line = candidates.cell_line[rows]
    compounds = _counts(measured.compounds.ravel(), candidates.compounds)
    lines = _counts(measured.cell_line, candidates.cell_line)
    taken = np.zeros(len(rows))
    for position in range(min(top, len(rows))):
        used = compounds[a] + compounds[b] + lines[line]
        pick = int(np.argmin(used + taken))
        taken[pick] = np.inf
        compounds[a[pick]] += 1
        compounds[b[pick]] += 1
        lines[line[pick]] += 1
        values[rows[pick]] = top - position
    return values


def _counts(used: np.ndarray, present: np.ndarray) -> FloatArray:
    """How often each index was used; indices run over both arrays."""
    length = 1 + max(int(used.max(initial=0)), int(present.max(initial=0)))
    return np.bincount(used, minlength=length).astype(np.float64)
