"""What the scores tell about the plates: which compounds were pipetted together, what failed.

Pairs of a screen are laid out so that a group of compounds meets one partner on a plate. Errors
of a plate are then shared by the blocks (a, b, line) with a in one group, and a plate that was
never dispensed reads like untreated wells for all of them. Where no plates are recorded both
leave traces: residuals of (a, b) and (c, b) in one line go together for compounds a, c of one
group, whatever b and the line.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from models.screen import FloatArray, Wells
from models.synergy.inputs import ScoredBlocks

RIDGE = 2.0
MOST_SPREAD = 2.5
"""Residuals count up to this many standard deviations: groups are more than a few failures."""
LEAST_EIGENVALUE = 1.25
LEAST_LENGTH = 0.05
SHRINK = 30.0
"""Shared (partner, line) places at which a correlation counts half."""


def compound_groups(blocks: ScoredBlocks, n_compounds: int, n_lines: int) -> FloatArray:
    """``(n_compounds, n_compounds)`` positive semidefinite correlations of block residuals.

    Residuals from effects of pairs, lines and compounds in lines (ridge); for compounds a and c
    correlated over every partner b and line in which both (a, b) and (c, b) were measured, and
    shrunk towards 0 where these are few. Ones on the diagonal.
    """
    rest = _residuals(blocks, n_compounds, n_lines)
    limit = MOST_SPREAD * max(float(np.std(rest)), 1e-12)
    rest = np.clip(rest, -limit, limit)
    a, b = blocks.candidates.compounds.T
    place = blocks.candidates.cell_line * n_compounds
    row, column = np.concatenate([a, b]), np.concatenate([place + b, place + a])
    shape = (n_compounds, n_compounds * n_lines)
    value = scipy.sparse.csr_matrix((np.tile(rest, 2), (row, column)), shape)
    there = scipy.sparse.csr_matrix((np.ones(2 * len(rest)), (row, column)), shape)
    product = (value @ value.T).toarray()
    square = (value.multiply(value) @ there.T).toarray()
    count = (there @ there.T).toarray()
    scale = np.sqrt(square * square.T)
    together = np.divide(product, scale, out=np.zeros_like(product), where=scale > 0)
    together *= count / (count + SHRINK)
    np.fill_diagonal(together, 1.0)
    return _sharpened(together)


def _sharpened(correlation: FloatArray) -> FloatArray:
    """Similarity of directions in the space of the leading eigenvectors.

    Block residuals are mostly noise, so correlations within a group are 0.1 to 0.3, and the common
    part is what eigenvalues above 1 carry. Compounds without any of it are like themselves only.
    """
    values, vectors = np.linalg.eigh(0.5 * (correlation + correlation.T))
    common = values > LEAST_EIGENVALUE
    if not common.any():
        return np.eye(len(correlation))
    places = vectors[:, common] * np.sqrt(values[common] - 1.0)
    length = np.linalg.norm(places, axis=1)
    known = length > LEAST_LENGTH
    unit = np.where(known[:, None], places, 0.0) / np.where(known, length, 1.0)[:, None]
    result = unit @ unit.T
    np.fill_diagonal(result, 1.0)
    return result


def _residuals(blocks: ScoredBlocks, n_compounds: int, n_lines: int) -> FloatArray:
    candidates = blocks.candidates
    a, b = candidates.compounds.T
    line = candidates.cell_line
    _, pair = np.unique(a * n_compounds + b, return_inverse=True)
    n_pairs = int(pair.max(initial=-1)) + 1
    n = len(blocks)
    columns = (
        pair,
        n_pairs + line,
        n_pairs + n_lines + a * n_lines + line,
        n_pairs + n_lines + b * n_lines + line,
    )
    width = n_pairs + n_lines + n_compounds * n_lines
    rows = np.tile(np.arange(n), len(columns))
    design = scipy.sparse.csr_matrix(
        (np.ones(len(rows)), (rows, np.concatenate(columns))), (n, width)
    )
    centred = blocks.score - blocks.score.mean()
    limit = MOST_SPREAD * max(float(centred.std()), 1e-12)
    centred = np.clip(centred, -limit, limit)
    fitted = scipy.sparse.linalg.lsqr(design, centred, damp=RIDGE, iter_lim=200)[0]
    return np.asarray(centred - design @ fitted)


def block_means(blocks: ScoredBlocks, wells: Wells, n_compounds: int) -> FloatArray:
    """``(m,)`` mean viability of the wells of each block; NaN where there are none."""
    pairs = wells.select(wells.n_compounds == 2)
    key = (pairs.cell_line * n_compounds + pairs.compounds[:, 0]) * n_compounds
    key = key + pairs.compounds[:, 1]
    keys, where = np.unique(key, return_inverse=True)
    mean = np.bincount(where, pairs.viability) / np.bincount(where)
    wanted = blocks.candidates.keys(n_compounds)
    at = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    found = keys[at] == wanted if len(keys) else np.zeros(len(wanted), bool)
    return np.where(found, mean[at] if len(keys) else 0.0, np.nan)
