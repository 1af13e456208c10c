"""Scores of predicted effects against held-out cells, and simple predictions beside them.

The reference effects come from the cells that are passed and from no others: pass held-out ones.
Scores follow the perturbation literature: correlation and R^2 over all conditions and readouts,
mean Jaccard index of the readouts of largest effect. Predictions of the table look-up kind
are given beside the model's because they are hard to beat (Ahlmann-Eltze et al. 2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.bayes.predictive import pearson
from models.perturbation.data import ResponseTable
from models.perturbation.vae.cells import COUNTS_PER_CELL, CellTable, condition_name
from models.perturbation.vae.worlds import Scale
from models.screen import FloatArray, ScreenError

TOP_READOUTS = 50


@dataclass(frozen=True)
class MeasuredEffects:
    """Mean effects of conditions: ``doses`` ``(c, p)``, ``effect`` ``(c, g)`` against the control,
    ``cells`` ``(c,)`` behind each."""

    perturbations: tuple[str, ...]
    readouts: tuple[str, ...]
    doses: FloatArray
    effect: FloatArray
    cells: FloatArray

    def responses(self) -> ResponseTable:
        """A table of log ratios, a row per condition, for the models of conditions."""
        return ResponseTable.of(
            perturbations=self.perturbations,
            readouts=self.readouts,
            conditions=[condition_name(self.perturbations, row) for row in self.doses],
            doses=self.doses,
            values=self.effect,
        )


def measured_effects(cells: CellTable, scale: Scale = "ratio") -> MeasuredEffects:
    """Of the cells of good quality, all of them and only them; differences of means where values
    are continuous, for counts in the ``scale`` of :func:`.worlds.effects`.

    ``ratio`` pools molecules and does not depend on how deeply cells were sequenced;
    ``log2_profile``, the published one, does. Raises :class:`ScreenError` without control cells or
    without treated ones.
    """
    good = cells.select(~cells.low_quality)
    if not good.is_control.any() or good.is_control.all():
        raise ScreenError("effects need control cells and treated cells of good quality")
    treated, control = good.select(~good.is_control), good.select(good.is_control)
    doses, group = np.unique(treated.doses, axis=0, return_inverse=True)
    members = [treated.select(group.reshape(-1) == i) for i in range(len(doses))]
    level = _level(control, scale)
    effect = np.array([_level(part, scale) - level for part in members])
    count = np.array([len(part) for part in members], dtype=np.float64)
    return MeasuredEffects(good.perturbations, good.readouts, doses, effect, count)


def _level(cells: CellTable, scale: Scale) -> FloatArray:
    """``(g,)`` mean of cells; pooled counts have half a molecule added."""
    if cells.observation == "continuous":
        return np.asarray(np.nanmean(cells.values, axis=0))
    if scale == "ratio":
        return np.asarray(np.log((cells.values.sum(axis=0) + 0.5) / cells.library.sum()))
    profile = cells.values * (COUNTS_PER_CELL / cells.library[:, None])
    return np.asarray(np.log2(1 + profile).mean(axis=0))


@dataclass(frozen=True)
class EffectScores:
    """``correlation`` (``None`` for constant predictions), ``r2`` against predicting the mean of
    all reference effects, ``jaccard`` of the largest effects, ``mse``."""

    correlation: float | None
    r2: float
    jaccard: float
    mse: float


def score_effects(
    predicted: FloatArray, reference: FloatArray, top: int = TOP_READOUTS
) -> EffectScores:
    """Over conditions and readouts ``(c, g)``; ``top`` readouts per condition are compared."""
    if predicted.shape != reference.shape or not reference.size:
        raise ScreenError(f"effects of shapes {predicted.shape} and {reference.shape} differ")
    error = float(np.mean((predicted - reference) ** 2))
    spread = float(np.var(reference))
    overlap = [
        _jaccard(_largest(row, top), _largest(truth, top))
        for row, truth in zip(predicted, reference, strict=True)
    ]
    r2 = 1 - error / spread if spread > 0 else float(error == 0)
    correlation = pearson(predicted.reshape(-1), reference.reshape(-1))
    return EffectScores(correlation, r2, float(np.mean(overlap)), error)


def simple_predictions(train: MeasuredEffects, doses: FloatArray) -> dict[str, FloatArray]:
    """Predictions ``(c, g)`` at ``doses`` ``(c, p)`` from the training cells' effects.

    ``no change``; ``mean of others``: mean over all training conditions; ``same condition``: its
    own training effect, the mean where it was not measured; ``additive``: sum of the single effects
    at these doses, the mean where one was not measured.
    """
    known = {row.tobytes(): effect for row, effect in zip(train.doses, train.effect, strict=True)}
    mean = train.effect.mean(axis=0)
    additive = []
    for row in doses:
        singles = [known.get(single.tobytes()) for single in _singles(row)]
        found = [single for single in singles if single is not None]
        additive.append(sum(found) if len(found) == len(singles) and found else mean)
    return {
        "no change": np.zeros((len(doses), train.effect.shape[1])),
        "mean of others": np.tile(mean, (len(doses), 1)),
        "same condition": np.array([known.get(row.tobytes(), mean) for row in doses]),
        "additive": np.array(additive),
    }


def compare(
    predicted: Mapping[str, FloatArray], reference: FloatArray, top: int = TOP_READOUTS
) -> dict[str, EffectScores]:
    """Scores of several predictions against one reference."""
    return {name: score_effects(values, reference, top) for name, values in predicted.items()}


def _singles(row: FloatArray) -> list[FloatArray]:
    """One row for each perturbation present in ``row``, at its dose."""
    return [np.where(np.arange(len(row)) == at, row, 0.0) for at in np.flatnonzero(row)]


def _largest(row: FloatArray, top: int) -> set[int]:
    return {int(i) for i in np.argsort(-np.abs(row), kind="stable")[:top]}


def _jaccard(first: set[int], second: set[int]) -> float:
    return len(first & second) / len(first | second)
