"""A Gaussian process over (log-dose, context), exact, on as many wells as that allows.

Residuals of the Bliss surface at wells ``x = {(A, a), (B, b)}, line`` have the covariance

    s1^2 [1 - w + w 1(line = line')] sum over both matchings of k(Aa, A'a') k(Bb, B'b') / 2
    + s2^2 1(same pair, same line) exp(-distance of log doses / length)
    k(Aa, A'a') = [1 - r + r 1(A = A')] exp(-(f - f')^2 / 2 l_f^2 - (p - p')^2 / 2 l_p^2)

with ``f`` the margin and ``p`` the place of the dose. The second line is a block's own surface.
Hyperparameters by maximum likelihood; Rasmussen & Williams (2006), section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.bayes.training import one_thread
from models.screen import FloatArray, ScreenError
from models.surfaces.blocks import Blocks
from models.surfaces.kriging import condition
from models.surfaces.prediction import SurfacePrediction
from models.surfaces.scales import DoseScale

NAMES = ("log_s1", "log_s2", "log_lf", "log_lp", "log_length", "logit_w", "logit_r", "log_noise")
_START = (-2.6, -3.0, -1.0, -0.7, 0.0, 0.0, 1.0, -3.2)
MOST_WELLS, _LEARNED_ON, _STEPS, _RATE = 900, 450, 30, 0.1
_BLOCKS_AT_ONCE = 64


@dataclass(frozen=True)
class _Wells:
    """``(..., n)`` each: compounds, margins, places and decades of both sides, and the line."""

    compound: Tensor
    margin: Tensor
    place: Tensor
    decades: Tensor
    line: Tensor

    def select(self, rows: Tensor) -> _Wells:
        """Some wells, by number or mask."""
        return _Wells(
            self.compound[rows], self.margin[rows], self.place[rows], self.decades[rows],
            self.line[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class SurfaceGp:
    """Fitted: ``values`` in the order of ``NAMES``, the wells, and what they say."""

    scale: DoseScale
    values: Tensor
    wells: _Wells
    weights: Tensor
    factor: Tensor
    name: str = "gaussian process"

    def predict(self, blocks: Blocks) -> SurfacePrediction:
        """See :class:`models.surfaces.prediction.SurfacePredictor`."""
        b, (m, n) = len(blocks), blocks.shape
        mean, sd, correlation = (
            np.zeros((b, m * n)),
            np.zeros((b, m * n)),
            np.zeros((b, m * n, m * n)),
        )
        with one_thread(), torch.no_grad():
            for start in range(0, b, _BLOCKS_AT_ONCE):
                at = np.arange(start, min(start + _BLOCKS_AT_ONCE, b))
                mean[at], sd[at], correlation[at] = self._some(blocks.select(at))
        surface = mean.reshape(1, b, m, n) + blocks.reference
        noise = float(self.values[7].exp())
        scale = np.sqrt(np.square(sd) + noise**2).reshape(b, m, n)
        return SurfacePrediction(
            surface, scale, float("inf"), np.full((b, m, n), noise), correlation
        )

    def _some(self, blocks: Blocks) -> tuple[FloatArray, FloatArray, FloatArray]:
        b, p = len(blocks), blocks.shape[0] * blocks.shape[1]
        asked = _wells_of(blocks, self.scale)
        across = _kernel(self.values, self.wells, asked)
        mean = (self.weights @ across).reshape(b, p)
        reduced = torch.linalg.solve_triangular(self.factor, across, upper=False)
        reduced = reduced.reshape(-1, b, p).permute(1, 0, 2)
        own = torch.stack(
            [
                _kernel(self.values, *(asked.select(torch.arange(k * p, (k + 1) * p)),) * 2)
                for k in range(b)
            ]
        )
        covariance = own - reduced.transpose(1, 2) @ reduced
        measured = torch.from_numpy(blocks.measured.reshape(b, p))
        residual = torch.from_numpy(
            np.nan_to_num(blocks.viability - blocks.reference).reshape(b, p)
        )
        wells = torch.from_numpy(np.maximum(blocks.n_wells.reshape(b, p), 1)).double()
        noise = (2 * self.values[7]).exp() / wells
        jitter = 1e-8 * torch.eye(p, dtype=torch.float64)
        more, left = condition(covariance + jitter, noise, residual - mean, measured)
        sd = torch.diagonal(left, dim1=1, dim2=2).clamp(min=1e-12).sqrt()
        return (
            (mean + more).numpy(),
            sd.numpy(),
            (left / (sd[:, :, None] * sd[:, None, :])).numpy(),
        )


def fit_gp(tables: Sequence[Blocks], scale: DoseScale, seed: int) -> SurfaceGp:
    """Whole blocks are drawn by ``seed`` until :data:`MOST_WELLS` are reached."""
    rng = np.random.default_rng([seed, 43])
    wells, residual = _draw(tables, scale, rng)
    if len(residual) < 3:
        raise ScreenError("a Gaussian process needs at least three measured wells")
    values = torch.tensor(_START, dtype=torch.float64, requires_grad=True)
    start = values.detach().clone()
    optimizer = torch.optim.Adam([values], lr=_RATE)
    few = torch.arange(min(_LEARNED_ON, len(residual)))
    with one_thread():
        for _ in range(_STEPS):
            factor = _factor(values, wells.select(few))
            white = torch.linalg.solve_triangular(factor, residual[few, None], upper=False)
            loss = 0.5 * white.square().sum() + factor.diagonal().log().sum()
            loss = loss + 0.1 * (values - start).square().sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            found = values.detach()
            factor = _factor(found, wells)
            weights = torch.cholesky_solve(residual[:, None], factor)[:, 0]
    return SurfaceGp(scale, found, wells, weights, factor)


def _draw(
    tables: Sequence[Blocks], scale: DoseScale, rng: np.random.Generator
) -> tuple[_Wells, Tensor]:
    parts, residuals, total = [], [], sum(map(len, tables))
    for blocks in tables:
        per_block = max(1, blocks.shape[0] * blocks.shape[1])
        share = max(1, round(MOST_WELLS / per_block * len(blocks) / total))
        some = blocks.select(rng.permutation(len(blocks))[:share])
        seen = torch.from_numpy(np.flatnonzero(some.measured.reshape(-1)))
        parts.append(_wells_of(some, scale).select(seen))
        residual = (some.viability - some.reference).reshape(-1)
        residuals.append(torch.from_numpy(residual[seen.numpy()]))
    joined = _Wells(*(torch.cat([getattr(p, name) for p in parts]) for name in _WELL_COLUMNS))
    return joined, torch.cat(residuals)


_WELL_COLUMNS = ("compound", "margin", "place", "decades", "line")


def _wells_of(blocks: Blocks, scale: DoseScale) -> _Wells:
    shape = blocks.viability.shape

    def both(rows: FloatArray, columns: FloatArray) -> Tensor:
        spread = [
            np.broadcast_to(rows[:, :, None], shape),
            np.broadcast_to(columns[:, None], shape),
        ]
        return torch.from_numpy(np.stack([each.reshape(-1) for each in spread], axis=-1))

    one, two = blocks.compounds.T
    line = np.broadcast_to(blocks.cell_line[:, None, None], shape).reshape(-1)
    compounds = (
        np.broadcast_to(c[:, None], d.shape) for c, d in zip((one, two), blocks.doses, strict=True)
    )
    return _Wells(
        both(*compounds),
        both(*blocks.margins),
        both(scale.position(one, blocks.doses[0]), scale.position(two, blocks.doses[1])),
        both(scale.decades(one, blocks.doses[0]), scale.decades(two, blocks.doses[1])),
        torch.from_numpy(np.array(line)),
    )


def _factor(values: Tensor, wells: _Wells) -> Tensor:
    matrix = _kernel(values, wells, wells)
    noise = (2 * values[7]).exp() + 1e-8
    factor: Tensor = torch.linalg.cholesky(
        matrix + noise * torch.eye(len(matrix), dtype=matrix.dtype)
    )
    return factor


def _kernel(values: Tensor, x: _Wells, y: _Wells) -> Tensor:
    s1, s2, lf, lp, length = values[:5].exp()
    w, r = torch.sigmoid(values[5]), torch.sigmoid(values[6])
    line = (x.line[:, None] == y.line[None, :]).double()

    def one(i: int, j: int) -> Tensor:
        same = (x.compound[:, None, i] == y.compound[None, :, j]).double()
        away = ((x.margin[:, None, i] - y.margin[None, :, j]) / lf).square()
        away = away + ((x.place[:, None, i] - y.place[None, :, j]) / lp).square()
        return (1 - r + r * same) * torch.exp(-0.5 * away)

    def near(i: int, j: int) -> Tensor:
        same = (x.compound[:, None, i] == y.compound[None, :, j]).double()
        return same * torch.exp(-(x.decades[:, None, i] - y.decades[None, :, j]).abs() / length)

    context = 0.5 * (one(0, 0) * one(1, 1) + one(0, 1) * one(1, 0)) * (1 - w + w * line)
    block = (near(0, 0) * near(1, 1) + near(0, 1) * near(1, 0)) * line
    total: Tensor = s1.square() * context + s2.square() * block
    return total
