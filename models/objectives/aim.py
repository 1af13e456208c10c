"""What a round aims at: the objective on draws of its model, and on what was measured.

    aim = aim_at(rules.objective, screen, curves, blocks, posterior)
    aim.posterior          # in the place of the model's, for everything that chooses
    aim.measured.hits(20.0)

Without an objective, or with the score as one, all is the model's and the blocks' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.objectives.efficacy import BlockFunctions, ResponseFunctions, ScoreFunctions
from models.objectives.measured import MeasuredObjective, measure_objective, measured_scores
from models.objectives.objective import (
    PAIR,
    Objective,
    Pareto,
    Part,
    Quantity,
    Scalar,
    Score,
    candidate_unit,
    describe,
    lines_of,
    parts_of,
)
from models.objectives.posterior import FrontPosterior, MeasurementNoise, ObjectivePosterior
from models.objectives.scores import Blocks
from models.objectives.selectivity import PairsInLines
from models.objectives.treatments import excess_profile
from models.pharmacology.dose_response import CurveTable
from models.screen import Candidates, FloatArray, Screen
from models.synergy.registry import ModelPosterior
from models.synergy.response.dose_grids import DoseGrids
from models.synergy.response.treatments import ResponsePosterior


@dataclass(frozen=True)
class ModelFunctions:
    """Scores from the posterior of scores, as measured ones will be compared with them;
    inhibitions from its responses."""

    scores: ScoreFunctions
    responses: ResponseFunctions

    def draws(self, quantity: Quantity, at: Candidates, n: int, seed: int) -> FloatArray:
        """See :class:`models.objectives.efficacy.BlockFunctions`."""
        source = self.scores if isinstance(quantity, Score) else self.responses
        return source.draws(quantity, at, n, seed)


@dataclass(frozen=True)
class Aim:
    """``objective``: the campaign's, its score where nothing else was said. ``blocks``: scored as
    measured. ``measured``: the objective of these. ``posterior``: of the objective (a
    :class:`~models.objectives.posterior.FrontPosterior` for a front), the model's own for the
    score, ``None`` without a model. ``parts``: what the objective is made of, and
    ``part_posteriors`` of each."""

    objective: Objective
    blocks: Blocks
    measured: MeasuredObjective
    posterior: ModelPosterior | None
    parts: tuple[Part, ...] = ()
    part_posteriors: tuple[ModelPosterior, ...] = ()

    def describe(self) -> dict[str, Any]:
        """JSON-able: ``kind``, ``description`` in words, ``compares_lines``, ``parts`` (in words,
        with ``weight`` and ``line``), the ``reference`` of a front; of the measured blocks
        ``known``, not yet known (``partly_measured``), and the ``best`` value."""
        return {
            "kind": self.objective.kind,
            "description": describe(self.objective),
            "compares_lines": candidate_unit(self.objective) == PAIR,
            "parts": [
                {"description": describe(p.objective), "weight": p.weight, "cell_line": p.line}
                for p in self.parts
            ],
            "reference": None if self.measured.reference is None else [*self.measured.reference],
            "known": len(self.measured),
            "partly_measured": self.measured.partial,
            "best": self.measured.best,
        }


def aim_at(
    objective: Objective | None,
    screen: Screen,
    curves: CurveTable,
    blocks: Blocks,
    posterior: ModelPosterior | None,
) -> Aim:
    """The aim of a round with these curves, measured blocks and, where there is one, model.

    Raises :class:`ScreenError` for an objective that does not fit them: a cell line that the
    screen lacks, a score that the blocks were not scored by, a front without a reference.
    """
    if objective is None or isinstance(objective, Score):
        plain = Score(blocks.score_name)
        if objective is None or objective == plain:
            return Aim(plain, blocks, measured_scores(blocks), posterior)
    measured = measure_objective(objective, blocks, curves.noise, screen.cell_lines)
    parts = parts_of(objective)
    if posterior is None:
        return Aim(objective, blocks, measured, None, parts)
    source = _Source.of(objective, screen, curves, blocks, posterior)
    parted = tuple(source.posterior_of(part.objective) for part in parts)
    if isinstance(objective, Pareto):
        front = FrontPosterior(parted, objective.reference or ())
        return Aim(objective, blocks, measured, front, parts, parted)
    return Aim(objective, blocks, measured, source.posterior_of(objective), parts, parted)


@dataclass(frozen=True)
class _Source:
    """Where the posteriors of an objective and of its parts come from."""

    base: ModelPosterior
    functions: BlockFunctions
    noise: MeasurementNoise
    pairs: PairsInLines | None

    @classmethod
    def of(
        cls,
        objective: Objective,
        screen: Screen,
        curves: CurveTable,
        blocks: Blocks,
        base: ModelPosterior,
    ) -> _Source:
        """Score functions from the model's own responses where it has them, else from curves;
        noise as of a usual block."""
        grids = DoseGrids.of(screen.wells, len(screen.compounds))
        scores = ScoreFunctions(base, blocks.score_name, curves, grids, excess_profile(blocks))
        functions: BlockFunctions = scores
        if isinstance(base, ResponsePosterior):
            functions = ModelFunctions(scores, ResponseFunctions(base, grids))
        usual = np.median(blocks.n_wells / blocks.n_dose_pairs) if len(blocks) else 1.0
        noise = MeasurementNoise(
            base, functions, grids, curves.noise, blocks.noise, max(1, round(float(usual)))
        )
        pairs = None
        if candidate_unit(objective) == PAIR:
            pairs = PairsInLines.of(Candidates.empty(), lines_of(objective), screen.cell_lines)
        return cls(base, functions, noise, pairs)

    def posterior_of(self, objective: Scalar) -> ObjectivePosterior:
        """Draws of ``objective`` and the noise of its measurement."""
        return ObjectivePosterior(self.base, objective, self.functions, self.noise, self.pairs)
