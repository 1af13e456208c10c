"""What curves share: compound means, low-rank cell-line effects, spreads; and their Gibbs steps.

For compound c, cell line l and unknown k of (log C, log h, eta):

    theta_clk ~ N(mean_ck + load_ck . factor_l, scatter_ck)       factor_l ~ N(0, I)
    mean_ck ~ N(top_k, between_k),  load_ckr ~ N(0, column_kr),   scatter_ck ~ IG(nu/2, nu S_k/2)

Column variances have half-Cauchy scales, so that factors which nothing needs shrink away.
"""

from __future__ import annotations

import numpy as np
import scipy.special
import torch
from torch import Tensor

from models.screen import FloatArray
from models.synergy.response.newton import GaussianPrior
from models.synergy.response.shrinkage import HalfCauchy, inverse_gamma

TOP_MEAN, TOP_SD = np.array([0.0, 0.0, 0.0]), np.array([2.0, 0.5, 2.0])
BETWEEN_UNIT = 1.0
COLUMN_UNIT = np.array([0.5, 0.1, 0.3])
SCATTER_DF = 5.0
SCATTER_GUESS = np.array([0.3, 0.1, 0.3]) ** 2
SCATTER_FLOOR = np.array([0.1, 0.04, 0.1]) ** 2
"""No compound acts quite alike in all cell lines; and a spread that an ascent has let collapse
would hold the curves where they are."""


class CurveHierarchy:
    """State of the shared part. ``coefficient``: ``(n_compounds, 3, 1 + r)`` mean and loadings;
    ``factor``: ``(n_lines, r)``; ``scatter``: ``(n_compounds, 3)``; ``top``, ``typical``:
    ``(3,)``; ``between``: 3 scales; ``column``: ``3 r`` scales."""

    def __init__(
        self,
        cells: np.ndarray,
        shape: tuple[int, int],
        rank: int,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        n_compounds, n_lines = shape
        self.rng, self.rank, self.device = rng, rank, device
        self.compound = torch.as_tensor(cells[:, 0], device=device)
        self.line = torch.as_tensor(cells[:, 1], device=device)
        self.mask = torch.zeros(shape, dtype=torch.float64, device=device)
        self.mask[self.compound, self.line] = 1.0
        self.coefficient = torch.zeros((n_compounds, 3, 1 + rank), dtype=torch.float64)
        self.coefficient = self.coefficient.to(device)
        self.factor = self._normal((n_lines, rank))
        self.typical = SCATTER_GUESS.copy()
        self.scatter = np.tile(self.typical, (n_compounds, 1))
        self.top = TOP_MEAN.copy()
        self.between = HalfCauchy.start(BETWEEN_UNIT, 3, 1.0)
        self.column = HalfCauchy.start(1.0, 3 * rank, 0.3)

    def prior(self) -> GaussianPrior:
        """Of the measured curves, one row each."""
        rows = self.coefficient[self.compound]
        mean = rows[..., 0] + (rows[..., 1:] @ self.factor[self.line][..., None])[..., 0]
        precision = 1.0 / self._tensor(self.scatter)[self.compound]
        return GaussianPrior(mean, precision)

    def draw(self, theta: Tensor, *, scales: bool = True) -> None:
        """New values of all, or of all but spreads, given the measured curves ``(cells, 3)``."""
        table = torch.zeros((*self.mask.shape, 3), dtype=torch.float64, device=self.device)
        table[self.compound, self.line] = theta
        precision = 1.0 / self._tensor(self.scatter)
        self._draw_coefficients(table, precision)
        self._draw_factors(table, precision)
        if scales:
            self._draw_scatter(table)
            self._draw_tops()

    def _draw_coefficients(self, table: Tensor, precision: Tensor) -> None:
        design = torch.cat([torch.ones_like(self.factor[:, :1]), self.factor], dim=1)
        gram = torch.einsum("cl,li,lj->cij", self.mask, design, design)
        right = torch.einsum("cl,clk,li->cki", self.mask, table, design)
        own = self._tensor(self._prior_precision())
        matrix = precision[..., None, None] * gram[:, None] + torch.diag_embed(own)
        right = precision[..., None] * right
        right[..., 0] += own[:, 0] * self._tensor(self.top)
        self.coefficient = self._gaussian(matrix, right)

    def _prior_precision(self) -> FloatArray:
        column = self._column_variance()
        return 1.0 / np.concatenate([self.between.square[:, None], column], axis=1)

    def _column_variance(self) -> FloatArray:
        unit = COLUMN_UNIT[:, None] ** 2
        return np.asarray(self.column.square.reshape(3, self.rank) * unit, dtype=np.float64)

    def _draw_factors(self, table: Tensor, precision: Tensor) -> None:
        load = self.coefficient[..., 1:]
        scaled = load * precision[..., None]
        outer = torch.einsum("ckr,cks->crs", scaled, load)
        matrix = torch.einsum("cl,crs->lrs", self.mask, outer)
        matrix = matrix + torch.eye(self.rank, dtype=torch.float64, device=self.device)
        away = (table - self.coefficient[:, None, :, 0]) * self.mask[..., None]
        self.factor = self._gaussian(matrix, torch.einsum("clk,ckr->lr", away, scaled))

    def _draw_scatter(self, table: Tensor) -> None:
        mean = torch.einsum("ckr,lr->clk", self.coefficient[..., 1:], self.factor)
        away = (table - mean - self.coefficient[:, None, :, 0]) * self.mask[..., None]
        squares = away.square().sum(1).cpu().numpy()
        count = self.mask.sum(1).cpu().numpy()[:, None]
        shape = np.broadcast_to(0.5 * (SCATTER_DF + count), squares.shape)
        rate = 0.5 * (SCATTER_DF * self.typical + squares)
        self.scatter = inverse_gamma(self.rng, shape, rate)
        half = 1.0 + 0.5 * SCATTER_DF * len(self.scatter)
        rate = 1.0 / SCATTER_GUESS + 0.5 * SCATTER_DF * (1.0 / self.scatter).sum(0)
        # The gamma distribution beyond the floor, by its quantile function.
        below = scipy.special.gammainc(half, rate * SCATTER_FLOOR)
        place = below + (1.0 - below) * self.rng.random(3)
        drawn = scipy.special.gammaincinv(half, np.minimum(place, 1.0 - 1e-12)) / rate
        self.typical = np.maximum(drawn, SCATTER_FLOOR)

    def _draw_tops(self) -> None:
        mean = self.coefficient[..., 0].cpu().numpy()
        precision = 1.0 / TOP_SD**2 + len(mean) / self.between.square
        centre = (TOP_MEAN / TOP_SD**2 + mean.sum(0) / self.between.square) / precision
        self.top = centre + self.rng.standard_normal(3) / np.sqrt(precision)
        self.between.draw(self.rng, ((mean - self.top) ** 2).sum(0), len(mean))
        load = self.coefficient[..., 1:].cpu().numpy() / COLUMN_UNIT[:, None]
        self.column.draw(self.rng, (load**2).sum(0).ravel(), len(mean))

    def _gaussian(self, matrix: Tensor, right: Tensor) -> Tensor:
        """Draws of N(matrix^-1 right, matrix^-1), batched."""
        factor = torch.linalg.cholesky(matrix)
        half = torch.linalg.solve_triangular(factor, right[..., None], upper=False)
        half = half + self._normal(half.shape)
        drawn: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        return drawn[..., 0]

    def _normal(self, shape: tuple[int, ...]) -> Tensor:
        return self._tensor(self.rng.standard_normal(tuple(shape)))

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=self.device)
