"""An objective in the place of a score: what chooses batches by draws takes it as it is.

    wish = ObjectivePosterior(posterior, objective, functions, noise, pairs)
    summarise_pool(wish, candidates, ...)

A pair across cell lines is handed around as its blocks, so that pools, caps per compound and
batches stay what they are: each block carries the numbers of its pair.
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
from models.screen import Candidates, FloatArray, IntArray, ScreenError
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
        at, where = self._place(candidates)
        values = evaluate(self.objective, self.functions, at, n, seed).astype(np.float32)
        return torch.from_numpy(values if where is None else values[:, where])

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of the measured objective."""
        at, where = self._place(candidates)
        blocks = at.blocks() if isinstance(at, PairsInLines) else at
        lines = at.line_ids if isinstance(at, PairsInLines) else ()
        quantities = line_weights(self.objective, lines)
        # Objectives that leave out a line would not need its noise; they weigh it with zero.
        noise = {q: self.noise.sd(q, blocks).reshape(len(at), -1) for q in quantities}
        sd = objective_noise_sd(self.objective, noise, at)
        return torch.from_numpy(sd if where is None else sd[where]).float()

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the noise of one measurement."""
        df = self.noise_df
        return self.noise_sd(candidates) * (1.0 if math.isinf(df) else math.sqrt((df - 2) / df))

    def _place(self, candidates: Candidates) -> tuple[Candidates | PairsInLines, IntArray | None]:
        """What is evaluated, and which of it each candidate is (``None``: they are the same)."""
        if self.pairs is None:
            return candidates, None
        n = 1 + int(candidates.compounds.max(initial=0))
        keys = candidates.compounds[:, 0] * n + candidates.compounds[:, 1]
        distinct, where = np.unique(keys, return_inverse=True)
        pairs = np.stack(np.divmod(distinct, n), axis=1)
        return PairsInLines(pairs, self.pairs.lines, self.pairs.line_ids), where


@dataclass(frozen=True)
class FrontPosterior:
    """Several objectives kept apart, and one number that says whether all of them are reached.

    In the place of a score stands the *margin* of a candidate, the least of what its objectives
    exceed their reference by: ``min_k f_k - r_k``, above 0 exactly where all exceed it. Its noise
    is Gaussian, that of the noisiest objective: objectives of one block are read from the same
    wells and err together. ``parts``: at least two; ``reference``: one value each.
    """

    parts: tuple[ObjectivePosterior, ...]
    reference: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2 or len(self.parts) != len(self.reference):
            raise ScreenError("a front needs two objectives or more, and a reference of each")

    @property
    def model(self) -> str:
        """Name of the model underneath."""
        return self.parts[0].model

    @property
    def noise_df(self) -> float:
        """Infinite: Gaussian."""
        return math.inf

    @property
    def schedule(self) -> Schedule:
        """What the fit underneath ran."""
        return self.parts[0].schedule

    def diagnostics(self) -> dict[str, Any]:
        """Of the fit underneath."""
        return self.parts[0].diagnostics()

    def each(self, candidates: Candidates, n: int, seed: int) -> FloatArray:
        """``(k, n, len(candidates))`` draws of every objective in the same worlds."""
        drawn = [part.draws(candidates, n, seed).numpy() for part in self.parts]
        return np.stack(drawn).astype(np.float64)

    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 draws of the margin."""
        beyond = self.each(candidates, n, seed) - np.array(self.reference)[:, None, None]
        return torch.from_numpy(beyond.min(axis=0).astype(np.float32))

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured margin."""
        return torch.stack([part.noise_sd(candidates) for part in self.parts]).amax(dim=0)

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """The same: the noise is Gaussian."""
        return self.noise_sd(candidates)
