"""The surface model: margins, context and measured wells to whole surfaces with bands.

    y(a, b) = f_A(a) f_B(b) + h(a) h(b) { shifts + field given measured wells + operator }

``h`` is 0 at dose 0, so that margins are the single-agent curves to the last bit; the whole is
the mean of both orders of the compounds, so that swapping them changes no bit either. Where a well
was measured the operator is silent and the field alone weighs the well against its noise.

    model = fit_surfaces(gather_blocks(wells, curves), cell_lines, n_compounds, Plan(), seed=7)
    model.predict(blocks).band(0.9)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.screen import FloatArray
from models.surfaces.blocks import Blocks
from models.surfaces.ensemble import NOISE_DF, Ensemble
from models.surfaces.inputs import Context, Encoded, channels, encode
from models.surfaces.kriging import Field
from models.surfaces.prediction import SurfacePrediction, join_predictions
from models.surfaces.shift_folds import ShiftFolds

BLOCKS_AT_ONCE = 256


@dataclass(frozen=True)
class Calibration:
    """Factors on the spread, with nothing and with something of a block measured, the degrees of
    freedom of a well, and what they were learned from."""

    bare: float = 1.0
    seen: float = 1.0
    df: float = 6.0
    n_wells: int = 0
    words: str = "not calibrated"
    trust_bare: float = 1.0
    """Share of the operator's correction that is believed, with nothing of a block measured."""
    trust_seen: float = 1.0
    """The same with something measured."""
    tail: float = 1.0
    """Factor on the scale that keeps a well's standard deviation with these tails."""


@dataclass(frozen=True)
class SurfaceModel:
    """A fitted operator. ``report``: how it was fitted, JSON-able."""

    name: str
    context: Context
    shifts: ShiftFolds
    field: Field
    ensemble: Ensemble
    calibration: Calibration
    report: dict[str, Any]

    def predict(self, blocks: Blocks) -> SurfacePrediction:
        """Surfaces given whatever wells of ``blocks`` are measured; exact margins, exact symmetry.

        A block that the shifts were learned from is told those of a fold without it.
        """
        starts = range(0, max(len(blocks), 1), BLOCKS_AT_ONCE)
        parts = [blocks.select(np.arange(s, min(s + BLOCKS_AT_ONCE, len(blocks)))) for s in starts]
        return join_predictions([self._calibrated(part) for part in parts])

    def with_shifts(self, shifts: ShiftFolds) -> SurfaceModel:
        """The same model where shifts were learned anew, of more wells."""
        return replace(self, shifts=shifts)

    def _calibrated(self, blocks: Blocks) -> SurfacePrediction:
        raw = self.uncalibrated(blocks)
        anything = blocks.touched
        factor = np.where(anything, self.calibration.seen, self.calibration.bare)
        df, tail = self.calibration.df, self.calibration.tail
        # Factors are those of hidden wells: margins have noise alone, measured wells the field's.
        outer = [doses == 0 for doses in blocks.doses]
        given = blocks.measured | outer[0][:, :, None] | outer[1][:, None, :]
        widths = np.where(given, np.sqrt((df - 2) / df), tail * factor[:, None, None])
        return replace(raw.widened(factor), scale=widths * raw.scale, df=df)

    def uncalibrated(self, blocks: Blocks) -> SurfacePrediction:
        """As the members say it; both orders of the compounds, averaged."""
        one, two = self._one_way(blocks), self._one_way(blocks.swapped())
        surface = 0.5 * (one.surface + two.surface.transpose(2, 3))
        scale = (0.5 * (one.scale + two.scale.transpose(1, 2))).numpy().astype(np.float64)
        noise = self.field.noise_sd(blocks.reference)
        scale = np.where(one.inner.numpy(), scale, noise)
        draws = surface.numpy().astype(np.float64)
        # The reference in full precision, and exactly it on the margins.
        outer = ~one.inner.numpy()
        draws = np.where(outer, 0.0, draws) + blocks.reference
        return SurfacePrediction(draws, scale, NOISE_DF, noise, one.correlation)

    def _one_way(self, blocks: Blocks) -> _Way:
        parts, counts = self.shifts.of(blocks)
        encoded = encode(blocks, self.context, parts, counts)
        mask = torch.from_numpy(blocks.measured).float()
        return _run(self.ensemble, self.field, encoded, mask, self.calibration)


@dataclass(frozen=True)
class _Way:
    """One order of the compounds: departures from the reference ``(k, b, m, n)``, scales."""

    surface: Tensor
    scale: Tensor
    inner: Tensor
    correlation: FloatArray


def _run(
    ensemble: Ensemble, field: Field, encoded: Encoded, mask: Tensor, calibration: Calibration
) -> _Way:
    at = channels(encoded, mask, field, ensemble.unit, structured=ensemble.structured)
    some = (mask.amax(dim=(1, 2), keepdim=True) > 0).float()
    trust = some * calibration.trust_seen + (1.0 - some) * calibration.trust_bare
    with torch.no_grad():
        surface, scale = ensemble.outputs(encoded, replace(at, free=trust * at.free))
    scale = torch.sqrt(scale.square().mean(0))  # of all members together
    if ensemble.structured:
        noise = torch.from_numpy(field.noise_sd(encoded.reference.double().numpy())).float()
        at_measured = torch.sqrt(at.field_sd.square() + noise.square())
        scale = torch.where(mask > 0, at_measured, scale)
    return _Way(
        surface - encoded.reference, scale, encoded.gate > 0, _correlation(field, encoded, mask)
    )


def _correlation(field: Field, encoded: Encoded, mask: Tensor) -> FloatArray:
    """``(b, p, p)`` correlation of the field given the measured wells."""
    b, (m, n) = len(encoded), encoded.shape
    _, covariance = field.condition(
        (encoded.row_decades, encoded.column_decades),
        (encoded.row_margin, encoded.column_margin),
        torch.zeros(b, m * n, dtype=torch.float64),
        (encoded.n_wells * mask).reshape(b, m * n).double(),
    )
    sd = torch.diagonal(covariance, dim1=1, dim2=2).clamp(min=1e-12).sqrt()
    return np.asarray((covariance / (sd[:, :, None] * sd[:, None, :])).numpy())
