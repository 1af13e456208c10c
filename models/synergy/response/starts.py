"""Where the factors of interactions start: the main directions of what single agents leave over.

Chains that start at random factors find the true ones slowly, one at a time. Here the strength of
every measured block is estimated by itself, ``k_ijl``, shrunk to its prior, and the factors of
the compounds are the leading eigenvectors of

    G_ij = sum over cell lines l and partners m of  k_iml k_jml,      i != j,

whose entries off the diagonal have no bias from noise: the diagonal is left out and rebuilt from
the eigenvectors (HeteroPCA: Zhang, Cai & Wu, Ann Stat 50 (2022), 53).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from models.screen import FloatArray
from models.synergy.response.field import Field

BLOCK_PRIOR_SD = 0.15
_REPAIRS = 10
GATES = (0.02, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5)


def factor_start(field: Field) -> FloatArray:
    """``(n_compounds, r)`` factors, columns of mean square 1."""
    table = field.table
    strength = _block_strengths(field)
    gram = np.zeros((table.n_compounds, table.n_compounds))
    order = np.argsort(table.blocks[:, 1], kind="stable")
    lines = table.blocks[order, 1]
    starts = np.searchsorted(lines, np.arange(table.n_lines + 1))
    for low, high in pairwise(starts):
        rows = order[low:high]
        pair = table.pairs[table.blocks[rows, 0]]
        one_line = np.zeros_like(gram)
        one_line[pair[:, 0], pair[:, 1]] = strength[rows]
        one_line += one_line.T
        gram += one_line @ one_line
    return _leading(gram, field.rank)


def _block_strengths(field: Field) -> FloatArray:
    """``(blocks,)`` strength of each block beyond the current fit, shrunk to its prior."""
    table = field.table
    slope = field.both * field.level[:, None]
    residual = (field.level - field.viability)[:, None]
    weighted = slope * field.weight[:, None]
    where = table.block.ravel()
    size = len(table.blocks) + 1
    signal = np.bincount(where, (weighted * residual).cpu().numpy().ravel(), size)
    matrix = np.bincount(where, (weighted * slope).cpu().numpy().ravel(), size)
    return np.asarray(signal / (matrix + BLOCK_PRIOR_SD**-2), dtype=np.float64)[:-1]


def _leading(gram: FloatArray, rank: int) -> FloatArray:
    """Leading eigenvectors of a matrix whose diagonal is not known."""
    repaired = gram - np.diag(np.diag(gram))
    vectors = np.zeros((len(gram), rank))
    for _ in range(_REPAIRS):
        values, vectors = np.linalg.eigh(repaired)
        values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
        low_rank = (vectors * np.maximum(values, 0.0)) @ vectors.T
        np.fill_diagonal(repaired, np.diag(low_rank))
    padded = np.zeros((len(gram), rank))
    padded[:, : vectors.shape[1]] = vectors
    return np.asarray(padded * np.sqrt(len(gram)), dtype=np.float64)


def gate_start(field: Field) -> float:
    """The gate's exponent out of ``GATES`` that would leave least unexplained.

    For each exponent every pair takes the effect that its own wells ask for (one Gauss-Newton
    step), on top of the current unknowns.
    """
    return min(GATES, key=lambda gamma: _unexplained(field, gamma))


def _unexplained(field: Field, gamma: float) -> float:
    gate = torch.exp(gamma * field.log_occupancy)
    both = field.both_of(gate)
    level = field.level_of(both)
    residual = level - field.viability
    slope = both * level[:, None]
    weighted = slope * field.weight[:, None]
    where = field.table.pair.ravel()
    size = len(field.table.pairs) + 1
    signal = np.bincount(where, (weighted * residual[:, None]).cpu().numpy().ravel(), size)[:-1]
    matrix = np.bincount(where, (weighted * slope).cpu().numpy().ravel(), size)[:-1]
    misfit = float((field.weight * residual.square()).sum())
    return misfit - float((signal**2 / (matrix + BLOCK_PRIOR_SD**-2)).sum())
