"""From wells to scores: one number with its standard error for each measured block.

A block is one pair of compounds in one cell line, measured at one or more dose pairs. At each
dose pair the excess is ``100 * (reference - mean viability)`` percentage points, positive for
synergy, where the reference comes from the fitted single-agent curves; under ZIP a surface fitted
through the wells of the block takes the place of their means. A score summarises the block's dose
pairs. Its standard error counts the noise of the block's own wells and the uncertainty of both
curves, which all dose pairs of the block share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.objectives.block_noise import INACTIVE_ABOVE, BlockNoise, learn_block_noise
from models.objectives.exclusions import Exclusion, explain_exclusions
from models.pharmacology.curve_references import UNDEFINED, curve_reference
from models.pharmacology.dose_pairs import DosePairs, same_dose
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.score_rules import SCORES, score_rule
from models.screen import BoolArray, Candidates, FloatArray, IntArray, Screen

POINTS = 100.0
"""Percentage points in a fraction."""


@dataclass(frozen=True)
class Blocks:
    """Scored blocks, and below them the dose pairs they come from.

    Per block, ``(m,)``: ``candidates`` (distinct), ``score`` and ``noise_sd`` (percentage
    points), ``n_wells``, ``n_dose_pairs``. Per dose pair, ``(t,)``: ``block`` (its position),
    ``doses_um`` ``(t, 2)`` in the candidate's compound order, ``viability`` (mean of
    replicates), ``reference`` (fractions), ``excess`` and ``excess_sd`` (percentage points,
    with all that the block's other dose pairs share); ``excess`` is reference minus viability,
    under ZIP minus the fitted surface. ``noise`` is what the screen's
    combinations say about their noise, ``excluded`` what was left out and why. ``precision``
    ``(t,)``: what one well of a dose pair is worth, in wells of a usual plate (``None``: one).
    ``level_sd`` ``(t,)``: relative error that the wells of its block share by what the controls of
    their plates say (``None``: nothing), besides ``noise.shared_sd``.
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
    precision: FloatArray | None = None
    level_sd: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def shared_sd(self) -> FloatArray:
        """``(t,)`` relative error that the wells of each dose pair's block share, all told."""
        return shared_by_block(self.noise, self.level_sd, len(self.block))


def measure_blocks(screen: Screen, score: str, curves: CurveTable | None = None) -> Blocks:
    """Score every measured block of a screen.

    ``score``: a key of ``SCORES``. ``curves``: the screen's fitted single agents, fitted here
    when not given. Blocks whose single agents were not measured in their cell line, wells of three
    compounds, and dose pairs at which the reference is undefined (Loewe) are left out and listed
    in ``excluded``. The order of the wells changes nothing; blocks come out by cell line, then
    compounds.

    Raises :class:`ScreenError` for an unknown score.
    """
    score_rule(score)
    if curves is None:
        curves = fit_curves(screen.wells, len(screen.compounds), len(screen.cell_lines))
    pairs = screen.wells.select(screen.wells.n_compounds == 2)
    missing = ~curves.measured[pairs.compounds[:, :2], pairs.cell_line[:, None]]
    usable = pairs.select(~(missing[:, 0] | missing[:, 1]))
    excluded = explain_exclusions(screen, pairs, missing)
    table = DosePairs.of(usable, curves.noise, len(screen.compounds))
    return _summarise(score, table, curves, excluded)


def _summarise(
    name: str, table: DosePairs, curves: CurveTable, excluded: tuple[Exclusion, ...]
) -> Blocks:
    """Dose pairs into blocks: the score and its standard error."""
    kind = SCORES[name].reference
    noise = _block_noise(kind, table, curves)
    reference = curve_reference(kind, table, curves, noise.well_factor * _well_sd(table, curves))
    if not reference.defined.all():
        # Only Loewe leaves some out, and its dose pairs do not depend on one another.
        excluded = (*excluded, *_undefined(table, reference.defined))
        table, reference = table.select(reference.defined), reference.select(reference.defined)
    well_sd = noise.well_factor * _well_sd(table, curves)
    excess = reference.viability - reference.observed(table.viability)
    covariance = curves.covariance[table.compounds, table.cell_line[:, None]]
    misfit_sd = reference.slope * curves.misfit_sd_at(reference.single)
    curve_variance = _quadratic(reference.gradient, covariance) + (misfit_sd**2).sum(-1)
    well_variance = well_sd**2
    shared_sd = shared_by_block(noise, table.level_sd, len(table))
    shared_sd = shared_sd * np.maximum(table.viability, 0.0)
    weight = _weights(SCORES[name].summary, excess, table)
    on_wells = reference.on_wells(weight)
    gradient = _sums(weight[:, None, None] * reference.gradient, table.first)
    variance = (
        _sums(on_wells**2 * well_variance, table.first)
        + _sums(on_wells * shared_sd, table.first) ** 2
        + _quadratic(gradient, covariance[table.first])
        + _misfit_variance(weight[:, None] * misfit_sd, table)
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
        excess_sd=POINTS
        * np.sqrt(reference.observed_variance(well_variance) + shared_sd**2 + curve_variance),
        noise=noise,
        excluded=excluded,
        precision=table.precision,
        level_sd=table.level_sd,
    )


def shared_by_block(noise: BlockNoise, level_sd: FloatArray | None, n: int) -> FloatArray:
    """``(n,)`` what is learned of the shared error and what plates' controls say, together."""
    learned = np.full(n, noise.shared_sd)
    return learned if level_sd is None else np.hypot(learned, level_sd)


def _well_sd(table: DosePairs, curves: CurveTable) -> FloatArray:
    """``(t,)`` standard deviation of the replicate means, by the noise of the screen's wells and
    that of their plates."""
    return curves.noise.sd(np.maximum(table.viability, 0.0)) / np.sqrt(table.usual_wells)


def _block_noise(kind: str, table: DosePairs, curves: CurveTable) -> BlockNoise:
    """Noise of combination wells, from the excess of quiet ones over the reference.

    Bliss stands in for references that subtract nothing, smooth the wells or are not defined
    everywhere: quiet wells are quiet under any.
    """
    well_sd = _well_sd(table, curves)
    name = kind if kind in ("bliss", "hsa") else "bliss"
    reference = curve_reference(name, table, curves, well_sd)
    covariance = curves.covariance[table.compounds, table.cell_line[:, None]]
    misfit_sd = reference.slope * curves.misfit_sd_at(reference.single)
    curve_variance = _quadratic(reference.gradient, covariance) + (misfit_sd**2).sum(-1)
    quiet = reference.single.min(axis=1) >= INACTIVE_ABOVE
    excess = reference.viability - table.viability
    usual = table.precision is None or bool(np.all(table.precision == 1.0))
    level = None
    if table.level_sd is not None:
        level = (table.level_sd * np.maximum(table.viability, 0.0)) ** 2
    return learn_block_noise(
        quiet,
        excess,
        well_sd,
        curve_variance,
        table.block,
        alike=usual and level is None,
        level_variance=level,
    )


def _undefined(table: DosePairs, defined: BoolArray) -> tuple[Exclusion, ...]:
    """The dose pairs that have no reference, and the blocks that have none left."""
    left = np.bincount(table.block, defined, len(table.first))
    whole = left[table.block] == 0
    listed = []
    for rows, where, blocks in (
        (~defined & ~whole, "left out of blocks that keep others", 0),
        (whole, "in blocks that have no other", int((left == 0).sum())),
    ):
        if rows.any():
            words = f"{UNDEFINED}: {rows.sum()} dose pairs {where}"
            listed.append(Exclusion(words, blocks, int(table.n_wells[rows].sum())))
    return tuple(listed)


def _weights(summary: str, excess: FloatArray, table: DosePairs) -> FloatArray:
    """``(t,)`` weight of each dose pair in its block's score: equal, or all on the largest."""
    if summary == "mean":
        chosen = np.ones(len(excess))
    elif len(excess):
        chosen = (excess == np.maximum.reduceat(excess, table.first)[table.block]).astype(float)
    else:
        chosen = excess
    return np.divide(chosen, _sums(chosen, table.first)[table.block])


def _quadratic(gradient: FloatArray, covariance: FloatArray) -> FloatArray:
    """``sum_k g_k' S_k g_k`` over two compounds: ``(r, 2, 3)``, ``(r, 2, 3, 3)`` -> ``(r,)``."""
    total: FloatArray = np.einsum("rki,rkij,rkj->r", gradient, covariance, gradient)
    return total


def _misfit_variance(sd: FloatArray, table: DosePairs) -> FloatArray:
    """``(m,)`` variance of the score from the curves' misfit, ``sd`` ``(t, 2)`` with its sign.

    The misfit of one dose of one compound enters all dose pairs that hold this dose, so standard
    deviations add within a dose and variances between doses.
    """
    total = np.zeros(len(table.first))
    for k in range(2):
        group, owner = same_dose(table.block, table.doses_um[:, k])
        together = np.bincount(group, sd[:, k], len(owner))
        total += np.bincount(owner, together**2, len(total))
    return total


def _sums(values: FloatArray, first: IntArray) -> FloatArray:
    """Sums of the rows of each block; ``first`` is where the blocks start."""
    if not len(first):
        return values[:0]
    return np.asarray(np.add.reduceat(values, first, axis=0), dtype=np.float64)
