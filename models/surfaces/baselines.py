"""What a surface model has to beat: Bliss, MuSyC of the margins, and what an operator starts from.

Each is judged with bands of its own: Student-t around its surface, the scale an exponential of a
quadratic in the reference viability, learned from the same blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
import torch

from models.pharmacology.dose_response import CurveTable
from models.pharmacology.surfaces import musyc
from models.screen import FloatArray
from models.surfaces.blocks import Blocks
from models.surfaces.inputs import channels, encode
from models.surfaces.model import SurfaceModel
from models.surfaces.prediction import SurfacePrediction

_MOST_WELLS, _MOST_BLOCKS = 8000, 400
_START = (-2.5, 0.0, 0.0, 1.5)


@dataclass(frozen=True)
class Spread:
    """``log scale = a + b (f - 0.5) + c (f - 0.5)^2`` at the reference ``f``; tails ``df``."""

    values: tuple[float, float, float]
    df: float

    def scale(self, level: FloatArray) -> FloatArray:
        """Scale at the reference viability ``level``, any shape."""
        a, b, c = self.values
        return np.asarray(np.exp(a + b * (level - 0.5) + c * np.square(level - 0.5)))


def fit_spread(level: FloatArray, residual: FloatArray, seed: int) -> Spread:
    """Maximum likelihood; ``level``, ``residual``: ``(n,)``, a random part of them where many."""
    rng = np.random.default_rng([seed, 31])
    at = rng.permutation(len(level))[:_MOST_WELLS]
    f, e = level[at] - 0.5, residual[at]

    def loss(x: FloatArray) -> float:
        log_scale = x[0] + x[1] * f + x[2] * f * f
        df = 2.5 + np.exp(x[3])
        log_density = scipy.special.gammaln((df + 1) / 2) - scipy.special.gammaln(df / 2)
        log_density = log_density - 0.5 * np.log(df) - log_scale
        log_density = log_density - (df + 1) / 2 * np.log1p(np.square(e / np.exp(log_scale)) / df)
        return float(-log_density.mean() + 1e-3 * np.square(x - np.array(_START)).sum())

    found = scipy.optimize.minimize(loss, np.array(_START), method="Nelder-Mead").x
    return Spread(
        (float(found[0]), float(found[1]), float(found[2])), float(2.5 + np.exp(found[3]))
    )


def _said(surface: FloatArray, spread: Spread, level: FloatArray) -> SurfacePrediction:
    b, wells = len(surface), surface.shape[1] * surface.shape[2]
    scale = spread.scale(level)
    unit = np.broadcast_to(np.eye(wells), (b, wells, wells))
    return SurfacePrediction(surface[None], scale, spread.df, np.zeros_like(scale), unit)


@dataclass(frozen=True)
class Bliss:
    """The product of the margins; measured wells change nothing."""

    spread: Spread
    name: str = "bliss"

    def predict(self, blocks: Blocks) -> SurfacePrediction:
        """See :class:`models.surfaces.prediction.SurfacePredictor`."""
        return _said(blocks.reference, self.spread, blocks.reference)


def fit_bliss(tables: Sequence[Blocks], seed: int) -> Bliss:
    """Nothing is fitted but the bands."""
    level = np.concatenate([each.reference[each.measured] for each in tables])
    seen = np.concatenate([each.viability[each.measured] for each in tables])
    return Bliss(fit_spread(level, seen - level, seed))


@dataclass(frozen=True)
class Musyc:
    """MuSyC of the single-agent curves with one ``log alpha``, one ``log gamma`` and one place of
    ``E3`` between the product (0) and the stronger (1) of the maximum effects for all blocks."""

    curves: CurveTable
    log_alpha: float
    log_gamma: float
    strongest: float
    spread: Spread
    name: str = "musyc"

    def predict(self, blocks: Blocks) -> SurfacePrediction:
        """See :class:`models.surfaces.prediction.SurfacePredictor`."""
        values = np.array([self.log_alpha, self.log_gamma, self.strongest])
        return _said(_musyc_surface(blocks, self.curves, values), self.spread, blocks.reference)


def fit_musyc(tables: Sequence[Blocks], curves: CurveTable, seed: int) -> Musyc:
    """Least squares of the three shared numbers on some hundred blocks, then the bands."""
    rng = np.random.default_rng([seed, 37])
    total = sum(map(len, tables))
    some = [
        each.select(rng.permutation(len(each))[: max(1, _MOST_BLOCKS * len(each) // total)])
        for each in tables
    ]

    def loss(x: FloatArray) -> float:
        squares = [
            np.square(_musyc_surface(each, curves, x) - each.viability)[each.measured]
            for each in some
        ]
        return float(np.concatenate(squares).mean() + 1e-4 * np.square(x).sum())

    options = {"maxfev": 80, "xatol": 1e-2, "fatol": 1e-6}
    start = np.array([0.0, 0.0, 0.3])
    found = scipy.optimize.minimize(loss, start, method="Nelder-Mead", options=options).x
    level = np.concatenate([each.reference[each.measured] for each in some])
    residual = np.concatenate(
        [(each.viability - _musyc_surface(each, curves, found))[each.measured] for each in some]
    )
    spread = fit_spread(level, residual, seed)
    return Musyc(curves, float(found[0]), float(found[1]), float(found[2]), spread)


def _musyc_surface(blocks: Blocks, curves: CurveTable, values: FloatArray) -> FloatArray:
    shape = blocks.viability.shape
    doses = np.stack(
        [
            np.broadcast_to(blocks.doses[0][:, :, None], shape),
            np.broadcast_to(blocks.doses[1][:, None, :], shape),
        ],
        axis=-1,
    )
    at = blocks.compounds, blocks.cell_line[:, None]
    log_c, log_h, emax = (
        each[at][:, None, None, :] for each in (curves.log_c, curves.log_h, curves.emax)
    )
    product, strongest = emax.prod(axis=-1), emax.min(axis=-1)
    e3 = product + values[2] * (strongest - product)
    log_alpha, log_gamma = np.full((1, 1, 1, 2), values[0]), np.full((1, 1, 1, 2), values[1])
    return musyc(doses, log_c, log_h, emax, e3, log_alpha, log_gamma)


@dataclass(frozen=True)
class Start:
    """What the operator corrects, by itself: shifts, and the field given measured wells."""

    model: SurfaceModel
    spreads: tuple[Spread, Spread]
    """With nothing and with something of a block measured."""
    name: str = "shifts and field"

    def predict(self, blocks: Blocks) -> SurfacePrediction:
        """See :class:`models.surfaces.prediction.SurfacePredictor`."""
        seen = blocks.touched[:, None, None]
        surface = 0.5 * (
            _start(self.model, blocks) + _start(self.model, blocks.swapped()).transpose(0, 2, 1)
        )
        level = blocks.reference
        scale = np.where(seen, self.spreads[1].scale(level), self.spreads[0].scale(level))
        said = _said(surface, self.spreads[0], level)
        return SurfacePrediction(said.draws, scale, said.df, said.noise_sd, said.correlation)


def fit_start(model: SurfaceModel, tables: Sequence[Blocks], seed: int) -> Start:
    """Bands of what ``model`` starts from, on blocks that its shifts were learned without."""
    rng = np.random.default_rng([seed, 41])
    spreads = []
    for share in (0.0, 0.3):
        levels, residuals = [], []
        for each in tables:
            some = each.select(rng.permutation(len(each))[:_MOST_BLOCKS])
            mask = (rng.random(some.viability.shape) < share) & some.measured
            asked = some.measured & ~mask
            expected = _start(model, some.seen_only(mask))
            levels.append(some.reference[asked])
            residuals.append((some.viability - expected)[asked])
        spreads.append(fit_spread(np.concatenate(levels), np.concatenate(residuals), seed))
    return Start(model, (spreads[0], Spread(spreads[1].values, spreads[0].df)))


def _start(model: SurfaceModel, blocks: Blocks) -> FloatArray:
    encoded = encode(blocks, model.context, *model.shifts.of(blocks))
    mask = torch.from_numpy(blocks.measured).float()
    base = channels(encoded, mask, model.field, model.ensemble.unit).base
    return np.asarray(base.numpy(), np.float64)
