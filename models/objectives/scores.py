"""From wells to scores: one number with its standard error for each measured block.

A block is one pair of compounds in one cell line, measured at one or more dose pairs. At each
dose pair the excess is ``100 * (reference - mean viability)`` percentage points, positive for
synergy, where the reference comes from the fitted single-agent curves. A score summarises the
block's dose pairs. Its standard error counts the noise of the block's own wells and the
uncertainty of both curves, which all dose pairs of the block share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.objectives.block_noise import INACTIVE_ABOVE, BlockNoise, learn_block_noise
from models.objectives.exclusions import Exclusion, explain_exclusions
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.noise import gather_replicates, robust_means
from models.pharmacology.references import REFERENCES
from models.pharmacology.score_rules import SCORES, ScoreRule, score_rule
from models.screen import (
    Candidates,
    FloatArray,
    IntArray,
    Screen,
    Wells,
)

POINTS = 100.0
"""Percentage points in a fraction."""


@dataclass(frozen=True)
class Blocks:
    """Scored blocks, and below them the dose pairs they come from.

    Per block, ``(m,)``: ``candidates`` (distinct), ``score`` and ``noise_sd`` (percentage
    points), ``n_wells``, ``n_dose_pairs``. Per dose pair, ``(t,)``: ``block`` (its position),
    ``doses_um`` ``(t, 2)`` in the candidate's compound order, ``viability`` (mean of
    replicates), ``reference`` (fractions), ``excess`` and ``excess_sd`` (percentage points,
    with all that the block's other dose pairs share). ``noise`` is what the screen's
    combinations say about their noise, ``excluded`` what was left out and why.
    """

    score_name: str
    candidates: Candidates
    score: FloatArray
    noise_sd: FloatArray
    n_wells: IntArray
    n_dose_pairs: IntArray
    block: IntArray
    doses_um: FloatArray
    viability: FloatArray
    reference: FloatArray
    excess: FloatArray
    excess_sd: FloatArray
    noise: BlockNoise
    excluded: tuple[Exclusion, ...]

    def __len__(self) -> int:
        return len(self.candidates)


@dataclass(frozen=True)
class _DosePairs:
    """Replicate means, rows of one block together.

    ``compounds``, ``doses_um``: ``(t, 2)``. ``cell_line``, ``viability``, ``n_wells``,
    ``block``: ``(t,)``. ``first``: ``(m,)`` row where each block starts.
    """

    compounds: IntArray
    cell_line: IntArray
    doses_um: FloatArray
    viability: FloatArray
    n_wells: IntArray
    block: IntArray
    first: IntArray

    @property
    def candidates(self) -> Candidates:
        return Candidates(self.compounds[self.first], self.cell_line[self.first])


@dataclass(frozen=True)
class _Reference:
    """The reference at each dose pair and what its error comes from.

    ``single``: ``(t, 2)`` single viabilities. ``viability``: ``(t,)``. ``gradient``:
    ``(t, 2, 3)`` derivatives of the reference by the parameters of both curves. ``misfit_sd``:
    ``(t, 2)`` its error where a compound departs from a Hill curve.
    """

    single: FloatArray
    viability: FloatArray
    gradient: FloatArray
    misfit_sd: FloatArray


def measure_blocks(screen: Screen, score: str, curves: CurveTable | None = None) -> Blocks:
    """Score every measured block of a screen.

    ``score``: a key of ``SCORES``. ``curves``: the screen's fitted single agents, fitted here
    when not given. Blocks whose single agents were not measured in their cell line, and wells of
    three compounds, are left out and listed in ``excluded``. The order of the wells changes
    nothing; blocks come out by cell line, then compounds.

    Raises :class:`ScreenError` for an unknown score.
    """
    score_rule(score)
    if curves is None:
        curves = fit_curves(screen.wells, len(screen.compounds), len(screen.cell_lines))
    pairs = screen.wells.select(screen.wells.n_compounds == 2)
    missing = ~curves.measured[pairs.compounds[:, :2], pairs.cell_line[:, None]]
    usable = pairs.select(~(missing[:, 0] | missing[:, 1]))
    excluded = explain_exclusions(screen, pairs, missing)
    return _summarise(score, _average(usable, curves), curves, excluded)


def _average(wells: Wells, curves: CurveTable) -> _DosePairs:
    """Replicates of one dose pair into one row."""
    replicates = gather_replicates(wells)
    rows = replicates.order[replicates.first]
    compounds, cell_line = wells.compounds[rows, :2], wells.cell_line[rows]
    starts = np.diff(Candidates(compounds, cell_line).keys(curves.shape[0]), prepend=-1) != 0
    return _DosePairs(
        compounds=compounds,
        cell_line=cell_line,
        doses_um=wells.doses_um[rows, :2],
        viability=robust_means(replicates, wells.viability[replicates.order], curves.noise),
        n_wells=replicates.count,
        block=np.cumsum(starts) - 1,
        first=np.flatnonzero(starts),
    )


def _summarise(
    name: str, table: _DosePairs, curves: CurveTable, excluded: tuple[Exclusion, ...]
) -> Blocks:
    """Dose pairs into blocks: the score and its standard error."""
    reference = _reference(SCORES[name], table, curves)
    excess = reference.viability - table.viability
    covariance = curves.covariance[table.compounds, table.cell_line[:, None]]
    curve_variance = _quadratic(reference.gradient, covariance) + (reference.misfit_sd**2).sum(-1)
    well_sd = curves.noise.sd(np.maximum(table.viability, 0.0)) / np.sqrt(table.n_wells)
    quiet = reference.single.min(axis=1) >= INACTIVE_ABOVE
    noise = learn_block_noise(quiet, excess, well_sd, curve_variance, table.block)
    well_variance = (noise.well_factor * well_sd) ** 2
    shared_sd = noise.shared_sd * np.maximum(table.viability, 0.0)
    weight = _weights(SCORES[name].summary, excess, table)
    variance = (
        _sums(weight**2 * well_variance, table.first)
        + _sums(weight * shared_sd, table.first) ** 2
        + _curve_variance(weight, reference, table, covariance[table.first])
        + _misfit_variance(weight, reference, table)
    )
    return Blocks(
        score_name=name,
        candidates=table.candidates,
        score=POINTS * _sums(weight * excess, table.first),
        noise_sd=POINTS * np.sqrt(variance),
        n_wells=np.bincount(table.block, table.n_wells, len(table.first)).astype(np.int64),
        n_dose_pairs=np.bincount(table.block, minlength=len(table.first)),
        block=table.block,
        doses_um=table.doses_um,
        viability=table.viability,
        reference=reference.viability,
        excess=POINTS * excess,
        excess_sd=POINTS * np.sqrt(well_variance + shared_sd**2 + curve_variance),
        noise=noise,
        excluded=excluded,
    )


def _reference(rule: ScoreRule, table: _DosePairs, curves: CurveTable) -> _Reference:
    """The reference of every dose pair and the sources of its error."""
    at = (table.compounds, table.cell_line[:, None], table.doses_um)
    single = curves.viability(*at)
    if rule.reference == "bliss":
        slope = single[:, ::-1]
    else:
        strongest = single <= single.min(axis=-1, keepdims=True)
        slope = strongest / strongest.sum(axis=-1, keepdims=True)
    return _Reference(
        single=single,
        viability=REFERENCES[rule.reference](single),
        gradient=slope[..., None] * curves.gradient(*at),
        misfit_sd=slope * curves.misfit_sd_at(single),
    )


def _weights(summary: str, excess: FloatArray, table: _DosePairs) -> FloatArray:
    """``(t,)`` weight of each dose pair in its block's score: equal, or all on the largest."""
    if summary == "mean":
        chosen = np.ones(len(excess))
    elif len(excess):
        chosen = (excess == np.maximum.reduceat(excess, table.first)[table.block]).astype(float)
    else:
        chosen = excess
    return np.divide(chosen, _sums(chosen, table.first)[table.block])


def _curve_variance(
    weight: FloatArray, reference: _Reference, table: _DosePairs, covariance: FloatArray
) -> FloatArray:
    """``(m,)`` variance of the score from both curves' parameters, shared by all dose pairs."""
    gradient = _sums(weight[:, None, None] * reference.gradient, table.first)
    return _quadratic(gradient, covariance)


def _quadratic(gradient: FloatArray, covariance: FloatArray) -> FloatArray:
    """``sum_k g_k' S_k g_k`` over two compounds: ``(r, 2, 3)``, ``(r, 2, 3, 3)`` -> ``(r,)``."""
    total: FloatArray = np.einsum("rki,rkij,rkj->r", gradient, covariance, gradient)
    return total


def _misfit_variance(weight: FloatArray, reference: _Reference, table: _DosePairs) -> FloatArray:
    """``(m,)`` variance of the score from the curves' misfit.

    The misfit of one dose of one compound enters all dose pairs that hold this dose, so standard
    deviations add within a dose and variances between doses.
    """
    sd = weight[:, None] * reference.misfit_sd
    total = np.zeros(len(table.first))
    for k in range(2):
        group, owner = _same_dose(table.block, table.doses_um[:, k])
        together = np.bincount(group, sd[:, k], len(owner))
        total += np.bincount(owner, together**2, len(total))
    return total


def _same_dose(block: IntArray, dose: FloatArray) -> tuple[IntArray, IntArray]:
    """Group of each dose pair by (block, dose), and the block that each group belongs to."""
    order = np.lexsort([dose, block])
    new = (np.diff(block[order], prepend=-1) != 0) | (np.diff(dose[order], prepend=-1.0) != 0)
    group = np.empty_like(block)
    group[order] = np.cumsum(new) - 1
    return group, block[order[new]]


def _sums(values: FloatArray, first: IntArray) -> FloatArray:
    """Sums of the rows of each block; ``first`` is where the blocks start."""
    if not len(first):
        return values[:0]
    return np.asarray(np.add.reduceat(values, first, axis=0), dtype=np.float64)
