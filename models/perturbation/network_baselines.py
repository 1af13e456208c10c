"""Scores of edges by methods that every network has to beat; ``(g, g)``, regulators in rows.

The knock-out z-score is the strong one: on the DREAM4 challenge nothing simpler came close
(Prill et al. 2010; Pinna, Soranzo, de la Fuente 2010).
"""

from __future__ import annotations

import numpy as np

from models.perturbation.interventions import InterventionTable
from models.screen import FloatArray

LASSO_STEPS = 60


def correlation(table: InterventionTable) -> FloatArray:
    """|Pearson correlation| over all conditions; the same both ways."""
    return np.abs(np.corrcoef(_all(table), rowvar=False))


def partial_correlation(table: InterventionTable, ridge: float = 0.1) -> FloatArray:
    """|Partial correlation| given all other genes, from (C + ridge I)^-1 of the correlations C."""
    g = len(table.genes)
    inverse = np.linalg.inv(np.corrcoef(_all(table), rowvar=False) + ridge * np.eye(g))
    sd = np.sqrt(np.diag(inverse))
    return np.asarray(np.abs(inverse / np.outer(sd, sd)))


def knock_out_z(table: InterventionTable) -> FloatArray:
    """|z| of h under the strongest intervention on g, among those on all genes; the diagonal 0.

    Mean and spread are those of h over these interventions, its own among them, so that a gene
    that answers to everything counts for less.
    """
    rows = _strongest_rows(table)
    chosen = table.responses[list(rows.values())]
    scores = np.zeros((len(table.genes),) * 2)
    scores[list(rows)] = np.abs((chosen - chosen.mean(axis=0)) / chosen.std(axis=0))
    np.fill_diagonal(scores, 0.0)
    return scores


def response_size(table: InterventionTable) -> FloatArray:
    """|Response of h to the strongest intervention on g| over the noise of h."""
    rows = _strongest_rows(table)
    scores = np.zeros((len(table.genes),) * 2)
    scores[list(rows)] = np.abs(table.responses[list(rows.values())]) / table.noise_sd
    np.fill_diagonal(scores, 0.0)
    return scores


def ridge_regression(table: InterventionTable, penalty: float = 300.0) -> FloatArray:
    """|Coefficients| of each gene on all others, conditions that act on it left out."""
    x = table.responses / table.responses.std(axis=0)
    g = len(table.genes)
    scores = np.zeros((g, g))
    for target in range(g):
        rows = ~table.targeted[:, target]
        others = np.delete(np.arange(g), target)
        a = x[rows][:, others]
        solved = np.linalg.solve(a.T @ a + penalty * np.eye(g - 1), a.T @ x[rows, target])
        scores[others, target] = np.abs(solved)
    return scores


def lasso_regression(table: InterventionTable, part: float = 0.3) -> FloatArray:
    """|Coefficients| of a lasso whose penalty is ``part`` of the least that leaves nothing.

    Accelerated proximal gradient, all targets at once (Beck, Teboulle 2009).
    """
    x = table.responses / table.responses.std(axis=0)
    free = ~table.targeted
    y = np.where(free, x, 0.0)
    start = np.abs(x.T @ y)
    np.fill_diagonal(start, 0.0)
    penalty = part * start.max(axis=0)
    step = 1 / np.linalg.norm(x, 2) ** 2
    b = np.zeros_like(start)
    ahead, momentum = b, 1.0
    for _ in range(LASSO_STEPS):
        slope = x.T @ np.where(free, x @ ahead - x, 0.0)
        moved = ahead - step * slope
        new = np.sign(moved) * np.maximum(np.abs(moved) - step * penalty, 0.0)
        np.fill_diagonal(new, 0.0)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead, b, momentum = new + (momentum - 1) / following * (new - b), new, following
    return np.asarray(np.abs(b))


def _all(table: InterventionTable) -> FloatArray:
    return np.asarray(np.vstack([table.controls, table.responses]))


def _strongest_rows(table: InterventionTable) -> dict[int, int]:
    sizes = np.where(table.targeted, np.abs(table.responses), -1.0)
    tested = np.flatnonzero(table.targeted.any(axis=0))
    return {int(gene): int(sizes[:, gene].argmax()) for gene in tested}
