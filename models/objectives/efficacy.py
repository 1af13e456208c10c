"""Draws of what a model says of blocks: their score, and their inhibition over the dose matrix.

A posterior of scores knows how much more a block inhibits than its single agents explain. With
``R(d)`` the reference of the single agents at the dose pairs ``d`` of the block and a score that
is the *mean* excess, its mean inhibition is exactly

    mean_d 100 * (1 - viability(d)) = mean_d 100 * (1 - R(d)) + score.

The largest inhibition, or one from a score that is a maximum, goes through the excess profile of
:mod:`models.objectives.treatments`. A posterior of responses is asked at the doses themselves.
Draw ``i`` under one seed is one world: one function of all blocks, curves included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.objectives.block_noise import BlockNoise
from models.objectives.objective import Efficacy, Quantity, Score
from models.objectives.scores import POINTS
from models.objectives.treatments import ExcessProfile, predict_viability, respond
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.noise import NoiseModel
from models.pharmacology.references import REFERENCES
from models.pharmacology.score_rules import SCORES, score_rule
from models.screen import ABSENT, Candidates, FloatArray, IntArray, Posterior, ScreenError
from models.synergy.response.dose_grids import DoseGrids
from models.synergy.response.treatments import ResponsePosterior, distinct

ELEMENTS_PER_BLOCK = 1 << 21
"""Dose pairs times draws evaluated at once."""


class BlockFunctions(Protocol):
    """Where draws of single blocks come from."""

    def draws(self, quantity: Quantity, at: Candidates, n: int, seed: int) -> FloatArray:
        """``(n, len(at))`` percentage points, noise-free; draw ``i`` is one world."""
        ...


@dataclass(frozen=True)
class ScoreFunctions:
    """From a posterior of the score ``score``, the curves that the score refers to, the doses at
    which blocks are measured, and a profile learned from this score's blocks.

    ``drawn``: the reference is drawn with the curves' uncertainty; else it is that of the fitted
    curves, as it is for a block that will be scored against the same fit.
    """

    posterior: Posterior
    score: str
    curves: CurveTable
    grids: DoseGrids
    profile: ExcessProfile | None = None
    drawn: bool = True

    def __post_init__(self) -> None:
        score_rule(self.score)
        if self.profile is not None and self.profile.score_name != self.score:
            raise ScreenError(
                f"the excess profile was learned for {self.profile.score_name}, the model for "
                f"{self.score}"
            )

    def draws(self, quantity: Quantity, at: Candidates, n: int, seed: int) -> FloatArray:
        """See :class:`BlockFunctions`. Raises :class:`ScreenError` for another score, and without
        a profile where one is needed."""
        if isinstance(quantity, Score) and quantity.score != self.score:
            raise ScreenError(
                f"the model was fitted to {self.score}; its draws say nothing of {quantity.score}"
            )
        scores = self.posterior.draws(at, n, seed).cpu().numpy().astype(np.float64)
        if isinstance(quantity, Score):
            return scores
        if quantity.summary == SCORES[self.score].summary == "mean":
            return scores + self.reference_inhibition(at, n, seed)
        return self._through_profile(quantity, at, scores, seed)

    def reference_inhibition(self, at: Candidates, n: int, seed: int) -> FloatArray:
        """``(n, len(at))`` mean inhibition over the dose matrix that the reference predicts."""
        result = np.empty((n, len(at)))
        reference = REFERENCES[SCORES[self.score].reference]
        for rows, block in _wells(self.grids, at, n):
            single = [self._single(block, k, n, seed) for k in (0, 1)]
            result[:, rows] = block.summarise(reference(np.stack(single, axis=-1)), "mean")
        return result

    def _single(self, block: _Wells, k: int, n: int, seed: int) -> FloatArray:
        """``(n, r)`` viability of compound ``k`` alone; each distinct well is worked out once."""
        (compound, line, dose), where = distinct(
            block.compounds[:, k], block.cell_line, block.doses_um[:, k]
        )
        if self.drawn:
            return self.curves.curve_draws(compound, line, dose, n, seed)[:, where]
        fitted = self.curves.viability(compound, line, dose)[where]
        return np.broadcast_to(fitted, (n, len(fitted)))

    def _through_profile(
        self, quantity: Efficacy, at: Candidates, scores: FloatArray, seed: int
    ) -> FloatArray:
        if self.profile is None:
            raise ScreenError(
                f"{quantity.summary} inhibition from {self.score} needs an excess profile: learn "
                "it from the measured blocks, or ask a model of responses"
            )
        result = np.empty_like(scores)
        for rows, block in _wells(self.grids, at, len(scores)):
            viability, _ = predict_viability(
                self.curves,
                self.profile,
                block.compounds,
                block.cell_line,
                block.doses_um,
                scores[:, rows][:, block.owner],
                seed,
            )
            result[:, rows] = block.summarise(viability, quantity.summary)
        return result


@dataclass(frozen=True)
class ResponseFunctions:
    """From a posterior of responses: any score and any inhibition at the doses of ``grids``.

    Scores compare with the single agents of the same world, which are the truth of that world,
    not the fitted curves that a measured score refers to.
    """

    posterior: ResponsePosterior
    grids: DoseGrids

    def draws(self, quantity: Quantity, at: Candidates, n: int, seed: int) -> FloatArray:
        """See :class:`BlockFunctions`."""
        result = np.empty((n, len(at)))
        for rows, block in _wells(self.grids, at, n):
            joint = self._viability(block.compounds, block, n, seed)
            if isinstance(quantity, Efficacy):
                result[:, rows] = block.summarise(joint, quantity.summary)
                continue
            rule = score_rule(quantity.score)
            single = [self._alone(block, k, n, seed) for k in (0, 1)]
            # The inhibition of 1 - excess, in points, is the excess.
            excess = REFERENCES[rule.reference](np.stack(single, axis=-1)) - joint
            result[:, rows] = block.summarise(1.0 - excess, rule.summary)
        return result

    def _alone(self, block: _Wells, k: int, n: int, seed: int) -> FloatArray:
        compounds = np.full_like(block.compounds, ABSENT)
        compounds[:, k] = block.compounds[:, k]
        return self._viability(compounds, block, n, seed)

    def _viability(self, compounds: IntArray, block: _Wells, n: int, seed: int) -> FloatArray:
        doses = np.where(compounds == ABSENT, 0.0, block.doses_um)
        return respond(self.posterior, compounds, block.cell_line, doses, n, seed)[0]


def efficacy_noise_sd(
    inhibition: FloatArray,
    n_dose_pairs: IntArray,
    summary: str,
    well_noise: NoiseModel,
    block_noise: BlockNoise,
    replicates: int = 1,
) -> FloatArray:
    """``(m,)`` standard deviation of a measured inhibition around the true one, points.

    ``inhibition``: ``(m,)`` expected, percentage points; ``n_dose_pairs``: ``(m,)`` wells of the
    block, each ``replicates`` times. Wells scatter as they do at the block's mean viability and
    share ``block_noise.shared_sd``; the largest inhibition is that of one dose pair.
    """
    if replicates < 1:
        raise ScreenError(f"{replicates} replicates, at least one is measured")
    viability = np.maximum(1.0 - inhibition / POINTS, 0.0)
    wells = replicates * (n_dose_pairs if summary == "mean" else np.ones_like(n_dose_pairs))
    own = block_noise.well_factor * well_noise.sd(viability) / np.sqrt(wells)
    return np.asarray(POINTS * np.hypot(own, block_noise.shared_sd * viability))


@dataclass(frozen=True)
class _Wells:
    """The wells of some blocks, those of one block together: ``compounds`` ``(r, 2)``,
    ``cell_line`` ``(r,)``, ``doses_um`` ``(r, 2)``, ``owner`` ``(r,)`` ascending from 0."""

    compounds: IntArray
    cell_line: IntArray
    doses_um: FloatArray
    owner: IntArray

    def summarise(self, viability: FloatArray, summary: str) -> FloatArray:
        """``(n, r)`` viabilities to ``(n, blocks)`` mean or largest inhibition, points."""
        first = np.flatnonzero(np.diff(self.owner, prepend=-1))
        if summary == "mean":
            mean = np.add.reduceat(viability, first, axis=1) / np.bincount(self.owner)
            return np.asarray(POINTS * (1.0 - mean), dtype=np.float64)
        return np.asarray(POINTS * (1.0 - np.minimum.reduceat(viability, first, axis=1)))


def _wells(grids: DoseGrids, at: Candidates, n: int) -> Iterator[tuple[slice, _Wells]]:
    """Blocks ``rows`` of ``at`` with their wells, so many that ``n`` draws fit into memory."""
    if n < 1:
        raise ScreenError(f"cannot draw {n} functions")
    owner, doses = grids.rows(at)
    starts = np.searchsorted(owner, np.arange(len(at) + 1))
    first = 0
    while first < len(at):
        most = starts[first] + max(1, ELEMENTS_PER_BLOCK // n)
        last = max(first + 1, int(np.searchsorted(starts, most, side="right")) - 1)
        rows = slice(int(starts[first]), int(starts[last]))
        own = owner[rows]
        yield (
            slice(first, last),
            _Wells(at.compounds[own], at.cell_line[own], doses[rows], own - first),
        )
        first = last
