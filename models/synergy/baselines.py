"""What a model has to beat: the mean, and compound plus cell-line main effects by ridge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.bayes.predictive import Noise
from models.screen import Candidates, FloatArray
from models.synergy.inputs import ScoredBlocks

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class PointPrediction:
    """``mean`` ``(m,)`` with Gaussian errors of standard deviation ``sd``."""

    mean: FloatArray
    sd: float

    @property
    def noise(self) -> Noise:
        """The errors as observation noise."""
        return Noise(np.full(len(self.mean), self.sd))


def predict_mean(train: ScoredBlocks, at: Candidates) -> PointPrediction:
    """The training mean everywhere, with the training standard deviation."""
    sd = float(train.score.std(ddof=1)) or 1.0
    return PointPrediction(np.full(len(at), train.score.mean()), sd)


def predict_additive(
    train: ScoredBlocks, at: Candidates, n_compounds: int, n_cell_lines: int
) -> PointPrediction:
    """score = mean + effect_a + effect_b + effect_line, ridge.

    The penalty and ``sd`` come from leave-one-out errors e_i / (1 - H_ii) on the training blocks
    (Golub, Heath & Wahba 1979).
    """
    design = _design(train.candidates, n_compounds, n_cell_lines)
    centre = train.score.mean()
    target = train.score - centre
    values, vectors = np.linalg.eigh(design.T @ design)
    rotated = design @ vectors
    best = (np.inf, np.zeros(design.shape[1]))
    for penalty in PENALTIES:
        shrink = 1.0 / (np.maximum(values, 0.0) + penalty)
        weights = vectors @ (shrink * (rotated.T @ target))
        leverage = np.square(rotated) @ shrink
        error = (target - design @ weights) / np.maximum(1 - leverage - 1 / len(target), 1e-6)
        best = min(best, (float(np.sqrt(np.mean(error**2))), weights), key=lambda item: item[0])
    mean = centre + _design(at, n_compounds, n_cell_lines) @ best[1]
    return PointPrediction(mean, best[0] or 1.0)


def _design(candidates: Candidates, n_compounds: int, n_cell_lines: int) -> FloatArray:
    table = np.zeros((len(candidates), n_compounds + n_cell_lines))
    rows = np.arange(len(candidates))
    for column in (*candidates.compounds.T, n_compounds + candidates.cell_line):
        table[rows, column] = 1.0
    return table
