"""An objective in the place of a score: what chooses batches by draws takes it as it is.

    wish = ObjectivePosterior(posterior, objective, functions, noise, pairs)
    summarise_pool(wish, pairs.stand_ins(), ...)

A pair across cell lines is handed around as its block in the first of them, so that pools, caps
per compound and batches stay what they are; ``pairs.select(rows).blocks()`` are the blocks that a
chosen pair asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.objectives.block_noise import BlockNoise
from models.objectives.efficacy import BlockFunctions, efficacy_noise_sd
from models.objectives.evaluating import evaluate, objective_noise_sd
from models.objectives.objective import (
    PAIR,
    Quantity,
    Scalar,
    Score,
    candidate_unit,
    describe,
    line_weights,
)
from models.objectives.selectivity import PairsInLines
from models.pharmacology.noise import NoiseModel
from models.screen import Candidates, FloatArray, ScreenError
from models.synergy.registry import ModelPosterior
from models.synergy.response.dose_grids import DoseGrids
from models.synergy.training import Schedule

NOISE_DRAWS = 16
"""Draws whose mean says at which inhibition a block will be measured."""


@dataclass(frozen=True)
class MeasurementNoise:
    """How far measured scores and inhibitions of blocks scatter around the true ones.

    ``posterior`` knows it for its score. That of an inhibition follows from the noise of wells and
    what wells of a block share, see :func:`models.objectives.efficacy.efficacy_noise_sd`.
    """

    posterior: ModelPosterior
    functions: BlockFunctions
    grids: DoseGrids
    wells: NoiseModel
    blocks: BlockNoise
    replicates: int = 1

    def sd(self, quantity: Quantity, at: Candidates) -> FloatArray:
        """``(len(at),)`` standard deviation, percentage points."""
        if isinstance(quantity, Score):
            return self.posterior.noise_sd(at).cpu().numpy().astype(np.float64)
        expected = self.functions.draws(quantity, at, NOISE_DRAWS, 0).mean(axis=0)
        count = np.bincount(self.grids.rows(at)[0], minlength=len(at))
        return efficacy_noise_sd(
            expected, count, quantity.summary, self.wells, self.blocks, self.replicates
        )


@dataclass(frozen=True)
class ObjectivePosterior:
    """Draws of ``objective`` (one number per candidate) instead of the score of ``base``.

    ``pairs``: the cell lines of an objective that names some, ``None`` for others; its own pairs
    do not matter. Fulfils :class:`models.synergy.registry.ModelPosterior`. Noise has the shape of
    the base's for its score alone and is Gaussian for all else.
    """

    base: ModelPosterior
    objective: Scalar
    functions: BlockFunctions
    noise: MeasurementNoise
    pairs: PairsInLines | None = None

    def __post_init__(self) -> None:
        if (candidate_unit(self.objective) == PAIR) != (self.pairs is not None):
            raise ScreenError(
                f"cell lines are given exactly where the objective compares some, which does not "
                f"hold for {describe(self.objective)}"
            )

    @property
    def model(self) -> str:
        """Name of the model underneath."""
        return self.base.model

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of the noise."""
        return self.base.noise_df if isinstance(self.objective, Score) else math.inf

    @property
    def schedule(self) -> Schedule:
        """What the fit underneath ran."""
        return self.base.schedule

    def diagnostics(self) -> dict[str, Any]:
        """Of the fit underneath."""
        return self.base.diagnostics()

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 draws of the objective, noise-free."""
        values = evaluate(self.objective, self.functions, self._place(candidates), n, seed)
        return torch.from_numpy(values.astype(np.float32))

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of the measured objective."""
        at = self._place(candidates)
        blocks = at.blocks() if isinstance(at, PairsInLines) else at
        lines = at.line_ids if isinstance(at, PairsInLines) else ()
        quantities = line_weights(self.objective, lines)
        # Objectives that leave out a line would not need its noise; they weigh it with zero.
        noise = {q: self.noise.sd(q, blocks).reshape(len(at), -1) for q in quantities}
        return torch.from_numpy(objective_noise_sd(self.objective, noise, at)).float()

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the noise of one measurement."""
        df = self.noise_df
        return self.noise_sd(candidates) * (1.0 if math.isinf(df) else math.sqrt((df - 2) / df))

    def _place(self, candidates: Candidates) -> Candidates | PairsInLines:
        if self.pairs is None:
            return candidates
        return PairsInLines(candidates.compounds, self.pairs.lines, self.pairs.line_ids)
