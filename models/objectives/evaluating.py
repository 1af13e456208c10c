"""An objective on draws: whole functions in, whole functions of the objective out, then numbers.

    values = evaluate(wish, ScoreFunctions(posterior, ...), pairs, n=128, seed=1)    # (128, p)
    summarise_objective(values, threshold=20.0, incumbent=12.0).expected_improvement

Weights and differences are taken within each draw, so that what lines and quantities share, the
curves of a compound, say, cancels or adds up as it should. Nothing is computed from means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.bayes.predictive import Noise, probability_below
from models.objectives.efficacy import BlockFunctions
from models.objectives.objective import (
    PAIR,
    Objective,
    Pareto,
    Quantity,
    Scalar,
    candidate_unit,
    line_weights,
    lines_of,
)
from models.objectives.selectivity import PairsInLines
from models.screen import Candidates, FloatArray, ScreenError


@dataclass(frozen=True)
class ObjectiveSummary:
    """Per candidate, ``(m,)``: ``mean`` and ``sd`` (divisor n - 1) of the noise-free objective;
    ``hit_probability`` (``None`` without a threshold); ``probability_of_improvement`` and
    ``expected_improvement`` (``None`` without an incumbent)."""

    mean: FloatArray
    sd: FloatArray
    hit_probability: FloatArray | None
    probability_of_improvement: FloatArray | None
    expected_improvement: FloatArray | None


def evaluate(
    objective: Scalar, functions: BlockFunctions, at: Candidates | PairsInLines, n: int, seed: int
) -> FloatArray:
    """``(n, len(at))`` draws of the objective, percentage points.

    ``at``: blocks, or pairs across lines for an objective that names lines. Raises
    :class:`ScreenError` where the two do not fit, and for draws that are not finite.
    """
    _require_place(objective, at)
    total = np.zeros((n, len(at)))
    for quantity, weights in line_weights(objective, _line_ids(at)).items():
        columns = np.flatnonzero(weights)
        blocks = at.blocks_in(columns) if isinstance(at, PairsInLines) else at
        drawn = functions.draws(quantity, blocks, n, seed).reshape(n, len(at), len(columns))
        for k, column in enumerate(columns):
            total += weights[column] * drawn[:, :, k]
    return require_finite(total)


def evaluate_front(
    objective: Pareto, functions: BlockFunctions, at: Candidates | PairsInLines, n: int, seed: int
) -> FloatArray:
    """``(k, n, len(at))`` draws of each of the ``k`` objectives in the same worlds."""
    return np.stack([evaluate(part, functions, at, n, seed) for part in objective.objectives])


def objective_noise_sd(
    objective: Scalar, noise_sd: Mapping[Quantity, FloatArray], at: Candidates | PairsInLines
) -> FloatArray:
    """``(len(at),)`` standard deviation of the measured objective around the true one.

    ``noise_sd``: of each quantity, ``(len(at),)`` for blocks, ``(p, L)`` for pairs. Blocks err on
    their own: variances add. Quantities of one block come from the same wells: there the standard
    deviations add, an upper bound.
    """
    _require_place(objective, at)
    lines = _line_ids(at)
    per_block = np.zeros((len(at), max(len(lines), 1)))
    for quantity, weights in line_weights(objective, lines).items():
        if quantity not in noise_sd:
            raise ScreenError(f"the noise of {quantity.kind} is not given")
        per_block += np.abs(weights) * noise_sd[quantity].reshape(per_block.shape)
    return np.asarray(np.sqrt(np.square(per_block).sum(axis=1)))


def summarise_objective(
    draws: FloatArray,
    *,
    threshold: float | None = None,
    incumbent: float | FloatArray | None = None,
    margin: float = 0.0,
    noise: Noise | None = None,
) -> ObjectiveSummary:
    """Numbers per candidate from draws ``f`` ``(n, m)`` of the objective.

    ``threshold``: a hit is ``f > threshold``, or ``f + e > threshold`` with measurement ``noise``
    ``e``: P_j = (1/n) sum_i P(f_ij + e_j > threshold). ``incumbent`` ``b``: the best there is,
    one number or, ``(n,)``, the best measured candidate of each world. With ``margin`` ``x``:
    PI_j = (1/n) sum_i 1[f_ij > b_i + x], EI_j = (1/n) sum_i max(f_ij - b_i - x, 0), noise-free.

    Raises :class:`ScreenError` for fewer than two draws and numbers that are not finite.
    """
    if draws.ndim != 2 or len(draws) < 2:
        raise ScreenError(f"draws have shape {draws.shape}, expected (n, m) with n >= 2")
    require_finite(draws)
    chance = better = gain = None
    if threshold is not None:
        require_finite(np.asarray(threshold))
        if noise is None:
            chance = np.asarray((draws > threshold).mean(axis=0), dtype=np.float64)
        else:
            chance = 1.0 - probability_below(draws, threshold, noise)
    if incumbent is not None:
        above = draws - _incumbent(incumbent, margin, len(draws))
        better = np.asarray((above > 0).mean(axis=0), dtype=np.float64)
        gain = np.asarray(np.maximum(above, 0.0).mean(axis=0))
    mean, sd = np.asarray(draws.mean(axis=0)), np.asarray(draws.std(axis=0, ddof=1))
    return ObjectiveSummary(mean, sd, chance, better, gain)


def require_finite(values: FloatArray) -> FloatArray:
    """``values``; :class:`ScreenError` where one is NaN or infinite."""
    if not np.all(np.isfinite(values)):
        raise ScreenError("an objective is NaN or infinite; nothing can be judged by it")
    return values


def _incumbent(incumbent: float | FloatArray, margin: float, n: int) -> FloatArray:
    """``(1, 1)`` or ``(n, 1)`` what has to be exceeded."""
    if not (np.isfinite(margin) and margin >= 0):
        raise ScreenError(f"the margin of an improvement is {margin}, must not be negative")
    best = np.atleast_1d(np.asarray(incumbent, dtype=np.float64))
    if best.ndim != 1 or len(best) not in (1, n):
        raise ScreenError(f"the incumbent has shape {best.shape}, expected one number or ({n},)")
    return require_finite(best)[:, None] + margin


def _line_ids(at: Candidates | PairsInLines) -> tuple[str, ...]:
    return at.line_ids if isinstance(at, PairsInLines) else ()


def _require_place(objective: Objective, at: Candidates | PairsInLines) -> None:
    pairs = candidate_unit(objective) == PAIR
    if pairs != isinstance(at, PairsInLines):
        wanted = "pairs across its cell lines" if pairs else "blocks, a pair in one cell line each"
        raise ScreenError(f"this objective is one of {wanted}")
    if isinstance(at, PairsInLines):
        missing = [name for name in lines_of(objective) if name not in at.line_ids]
        if missing:
            raise ScreenError(f"the pairs are not given in cell line {', '.join(missing)}")
