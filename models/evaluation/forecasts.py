"""What a fitted model and its baselines say of a fold's held-out blocks or wells.

Scores of blocks: percentage points. Viability: fraction of the vehicle control, well by well; a
model of responses predicts it itself (``viability_draws``), a model of scores through the
profile of :mod:`models.objectives.treatments`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from models.bayes.forecast import Marks, mark, noise_ceiling, score_marks
from models.bayes.predictive import Noise
from models.evaluation.study import VIABILITY, FoldData, Study
from models.objectives.block_noise import BlockNoise
from models.objectives.scores import POINTS, Blocks
from models.objectives.treatments import excess_profile, predict_viability
from models.pharmacology.dose_response import CurveTable
from models.pharmacology.references import REFERENCES
from models.screen import Candidates, FloatArray, IntArray, Wells
from models.synergy.evidence import baseline_predictions, forecast_blocks
from models.synergy.registry import ModelPosterior
from models.synergy.response.treatments import ResponsePosterior

WELLS_AT_ONCE = 4096
LEAST_SD = 1e-6


@dataclass(frozen=True)
class Forecast:
    """``marks`` of the observations, ``observed`` ``(m,)`` and ``route``: how they were made.
    ``low_is_best``: of viability, whose top are the wells with the least."""

    marks: Marks
    observed: FloatArray
    route: str
    low_is_best: bool = False

    def report(self) -> dict[str, Any]:
        """JSON-able, see :func:`models.bayes.forecast.score_marks`."""
        scores = score_marks(self.marks, self.observed, low_is_best=self.low_is_best)
        return {**scores, "route": self.route}


def forecast_model(posterior: ModelPosterior, data: FoldData, study: Study, seed: int) -> Forecast:
    """The model on the held-out blocks, or on their wells where viability is asked for."""
    if study.score == VIABILITY:
        return _forecast_wells(posterior, data, study.draws, seed)
    draws, noise = forecast_blocks(posterior, data.training.blocks, data.test, study.draws, seed)
    return Forecast(mark(draws, data.test.score, noise), data.test.score, "scores")


def forecast_baselines(data: FoldData, study: Study) -> dict[str, Forecast]:
    """``mean`` and ``additive`` for scores; for viability ``bliss``: the product of the fitted
    curves, with the spread of its own errors on the training wells."""
    if study.score == VIABILITY:
        return {"bliss": _bliss(data)}
    found = baseline_predictions(data.training.blocks, data.test, data.training.features)
    return {
        name: Forecast(
            mark(point.mean[None], data.test.score, point.noise), data.test.score, "scores"
        )
        for name, point in found.items()
    }


def ceiling(data: FoldData, study: Study) -> float | None:
    """Pearson correlation that the truth itself would reach on this fold, from known errors."""
    if study.score == VIABILITY:
        observed = data.test_wells.viability
        return noise_ceiling(observed, well_sd(data.curves, data.blocks.noise, observed))
    return noise_ceiling(data.test.score, data.test.noise_sd)


def well_sd(curves: CurveTable, noise: BlockNoise, viability: FloatArray) -> FloatArray:
    """``(m,)`` standard deviation of one combination well: that of the screen's wells times the
    factor of its combinations, and what all wells of a block share."""
    level = np.maximum(viability, 0.0)
    own = noise.well_factor * curves.noise.sd(level)
    return np.maximum(np.hypot(own, noise.shared_sd * level), LEAST_SD)


def _forecast_wells(posterior: ModelPosterior, data: FoldData, n: int, seed: int) -> Forecast:
    responds = isinstance(posterior, ResponsePosterior)
    parts = []
    for wells in _chunks(data.test_wells):
        if isinstance(posterior, ResponsePosterior):
            at = (wells.compounds, wells.doses_um, wells.cell_line)
            draws = posterior.viability_draws(*at, n, seed).cpu().numpy().astype(np.float64)
            sd = np.maximum(posterior.well_noise_sd(draws.mean(axis=0)), LEAST_SD)
        else:
            draws, residual_sd = _through_profile(posterior, data, wells, n, seed)
            sd = np.hypot(well_sd(data.curves, data.blocks.noise, draws.mean(axis=0)), residual_sd)
        parts.append(mark(draws, wells.viability, Noise(sd)))
    route = "viability of the model" if responds else "scores through the learned profile"
    return Forecast(_joined(parts), data.test_wells.viability, route, low_is_best=True)


def _through_profile(
    posterior: ModelPosterior, data: FoldData, wells: Wells, n: int, seed: int
) -> tuple[FloatArray, float]:
    """Draws without the residual of the profile, and its standard deviation (fraction).

    The residual is independent from well to well, so it counts with the noise: a density from
    some hundred draws of it would be far too rough.
    """
    pair = wells.compounds[:, :2]
    scores = posterior.draws(Candidates(pair, wells.cell_line), n, seed).numpy()
    profile = excess_profile(data.blocks)
    draws, _ = predict_viability(
        data.curves,
        replace(profile, residual_sd=0.0),
        pair,
        wells.cell_line,
        wells.doses_um[:, :2],
        scores.astype(np.float64),
        seed,
    )
    return draws, profile.residual_sd / POINTS


def _bliss(data: FoldData) -> Forecast:
    blocks: Blocks = data.blocks
    compounds = blocks.candidates.compounds[blocks.block]
    lines = blocks.candidates.cell_line[blocks.block]
    known = _product(data.curves, compounds, lines, blocks.doses_um)
    error = float(np.sqrt(np.mean(np.square(blocks.viability - known))))
    wells = data.test_wells
    mean = _product(data.curves, wells.compounds[:, :2], wells.cell_line, wells.doses_um[:, :2])
    noise = Noise(np.full(len(mean), max(error, LEAST_SD)))
    marks = mark(mean[None], wells.viability, noise)
    return Forecast(marks, wells.viability, "product of curves", low_is_best=True)


def _product(
    curves: CurveTable, compounds: IntArray, lines: IntArray, doses_um: FloatArray
) -> FloatArray:
    return REFERENCES["bliss"](curves.viability(compounds, lines[:, None], doses_um))


def _chunks(wells: Wells) -> Iterator[Wells]:
    for start in range(0, len(wells), WELLS_AT_ONCE):
        yield wells.select(np.arange(start, min(start + WELLS_AT_ONCE, len(wells))))


def _joined(parts: list[Marks]) -> Marks:
    return Marks(
        np.concatenate([p.log_density for p in parts]),
        np.concatenate([p.position for p in parts]),
        np.concatenate([p.mean for p in parts]),
        np.concatenate([p.sd for p in parts]),
    )
