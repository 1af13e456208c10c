"""One Gibbs chain of ``logit_tensor``: every conditional is exact, nothing is rejected.

For cell line c and drug-doses i, j, with ``y`` the logit of the viability,

    y = a + w0_c + v0_i + v0_j + w_c . (v1_i + v1_j) + sum_d w_cd v2_id v2_jd + e,

with ``e ~ N(0, s^2 / tau)``, ``s`` being the noise of the well's plate over that of a usual one,
as in Tansey et al.'s BATCHIE (Nat Commun 16 (2025), 156): line factors under a multiplicative gamma
process (Bhattacharya & Dunson, Biometrika 98 (2011), 291), drug-dose factors under horseshoes
with one global scale a dimension. Here ``(w0, w)_c`` and ``(v0, v1, v2)_i`` are drawn jointly, all
lines at once and all drug-doses at once that share no well. Three compounds add up their pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.screen import FloatArray, IntArray
from models.synergy.response.incidence import Colour, colours_of
from models.synergy.response.shrinkage import HalfCauchy

LOWEST, HIGHEST = 0.01, 0.99
"""Viabilities are brought into this range before the logit, as the model's authors do."""

LOCAL_SLAB = 3.0
FIRST_SHAPE, LATER_SHAPE = 2.0, 3.0
PRECISION_SHAPE, PRECISION_RATE = 1.1, 1.1
GLOBAL_UNIT = 1.0
_START = 0.1


@dataclass(frozen=True)
class LabelledWells:
    """Wells of drug-dose labels. ``label``: ``(n, k)``, ``n_labels`` where a slot is empty;
    ``line``: ``(n,)``; ``logit``: ``(n,)`` without its mean; ``noise_scale``: ``(n,)`` of the
    wells' plates, ``None`` where all are usual."""

    label: IntArray
    line: IntArray
    logit: FloatArray
    n_labels: int
    n_lines: int
    noise_scale: FloatArray | None = None


class TensorChain:
    """State and sweeps. ``row``: ``(n_labels + 1, 1 + 2 d)`` of v0, v1, v2 (the last row 0);
    ``line``: ``(n_lines, 1 + d)`` of w0, w; ``tau``: precision of the noise."""

    def __init__(
        self, wells: LabelledWells, dimensions: int, seed: int, device: torch.device
    ) -> None:
        self.wells, self.d, self.device = wells, dimensions, device
        self.rng = np.random.default_rng([seed, 2])
        self.y = self._tensor(wells.logit)
        scale = np.ones(len(wells.logit)) if wells.noise_scale is None else wells.noise_scale
        self.weight = self._tensor(1.0 / scale)  # of a residual in usual units
        self.label = torch.from_numpy(np.ascontiguousarray(wells.label)).to(device)
        self.line_at = torch.from_numpy(np.ascontiguousarray(wells.line)).to(device)
        self.row = _START * self._normal(wells.n_labels + 1, 1 + 2 * dimensions)
        self.row[-1] = 0.0
        self.line = _START * self._normal(wells.n_lines, 1 + dimensions)
        self.tau = 1.0
        self.line_precision = np.ones(1 + dimensions)
        self.delta = np.full(dimensions, 2.0)
        width = 1 + 2 * dimensions
        self.local = HalfCauchy.start(1.0, wells.n_labels * width, 1.0)
        self.overall = HalfCauchy.start(GLOBAL_UNIT, width, 0.3)
        well, slot = np.nonzero(wells.label < wells.n_labels)
        self.label_views = colours_of(wells.label[well, slot], well, slot, wells.n_labels, device)
        everything = np.arange(len(wells.line))
        self.line_views = colours_of(
            wells.line, everything, np.zeros_like(everything), wells.n_lines, device
        )
        idle = np.setdiff1d(np.arange(wells.n_lines), wells.line)
        self.idle = torch.from_numpy(idle).to(device)

    def sweep(self) -> None:
        """Draw everything once."""
        self.draw_lines()
        self.draw_rows()
        self._draw_line_precision()
        self._draw_row_scales()
        residual = self.y - self.mean()
        shape = PRECISION_SHAPE + 0.5 * len(self.y)
        rate = PRECISION_RATE + 0.5 * float((self.weight * residual).square().sum())
        self.tau = float(self.rng.standard_gamma(shape) / rate)

    def mean(self) -> Tensor:
        """``(n,)`` logit of every well without the overall mean."""
        one, both = self._line_features()
        w = self.line[self.line_at]
        return w[:, 0] + one + (w[:, 1:] * both).sum(-1)

    def _line_features(self) -> tuple[Tensor, Tensor]:
        """Sum of v0, and what multiplies ``w``: sum of v1 and of the products of v2."""
        rows = self.row[self.label]
        v1, v2 = rows[..., 1 : 1 + self.d], rows[..., 1 + self.d :]
        total = v2.sum(1)
        pairs = 0.5 * (total.square() - v2.square().sum(1))
        return rows[..., 0].sum(1), v1.sum(1) + pairs

    # --- factors ------------------------------------------------------------------------------

    def draw_lines(self) -> None:
        """``(w0, w)`` of every cell line given the rest."""
        precision = self._tensor(self.line_precision)
        noise = self._normal(len(self.idle), 1 + self.d)
        self.line[self.idle] = noise / precision.sqrt()
        for colour in self.line_views:
            one, both = self._line_features()
            x = torch.cat([torch.ones_like(one)[:, None], both], dim=1)[colour.well]
            y = (self.y - one)[colour.well]
            self.line[colour.units] = self._conditional(colour, x, y, precision[None])

    def draw_rows(self) -> None:
        """``(v0, v1, v2)`` of every drug-dose given the rest."""
        precision = self._row_precision()
        mean = self.mean()
        v2 = self.row[:, 1 + self.d :]
        total = v2[self.label].sum(1)
        for colour in self.label_views:
            well = colour.well
            w = self.line[self.line_at[well]][:, 1:]
            own = self.row[colour.units]
            at_entry = own[colour.local]
            others = total[well] - at_entry[:, 1 + self.d :]
            x = torch.cat([torch.ones_like(w[:, :1]), w, w * others], dim=1)
            y = self.y[well] - mean[well] + (x * at_entry).sum(-1)
            drawn = self._conditional(colour, x, y, precision[colour.units])
            change = (drawn - own)[colour.local]
            self.row[colour.units] = drawn
            mean[well] += (x * change).sum(-1)
            total[well] += change[:, 1 + self.d :]

    def _row_precision(self) -> Tensor:
        width = 1 + 2 * self.d
        local = self.local.square.reshape(-1, width) * self.overall.square
        return self._tensor(1.0 / local + 1.0 / LOCAL_SLAB**2)

    def _conditional(self, colour: Colour, x: Tensor, y: Tensor, precision: Tensor) -> Tensor:
        """Draws ``(u, p)`` of N(A^-1 tau X'y, A^-1), A = tau X'X + precision, for each unit.

        Rows of X and y are divided by the scale of their wells' noise.
        """
        weight = self.weight[colour.well]
        x, y = x * weight[:, None], y * weight
        bounds = list(pairwise(colour.starts))
        gram = torch.stack([x[a:b].T @ x[a:b] for a, b in bounds])
        right = torch.stack([x[a:b].T @ y[a:b] for a, b in bounds])
        factor = torch.linalg.cholesky(self.tau * gram + torch.diag_embed(precision))
        half = torch.linalg.solve_triangular(factor, self.tau * right[..., None], upper=False)
        half = half + self._normal(*half.shape)
        drawn: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        return drawn[..., 0]

    # --- scales -------------------------------------------------------------------------------

    def _draw_line_precision(self) -> None:
        """w0: a gamma precision; w: the multiplicative gamma process, dimension by dimension."""
        line = self.line.cpu().numpy()
        n, squares = len(line), (line**2).sum(0)
        rate = PRECISION_RATE + 0.5 * squares[0]
        self.line_precision[0] = self.rng.standard_gamma(PRECISION_SHAPE + 0.5 * n) / rate
        for k in range(self.d):
            tail = np.cumprod(np.where(np.arange(self.d) == k, 1.0, self.delta))[k:]
            shape = (FIRST_SHAPE if k == 0 else LATER_SHAPE) + 0.5 * n * (self.d - k)
            rate = 1.0 + 0.5 * float(tail @ squares[1 + k :])
            self.delta[k] = self.rng.standard_gamma(shape) / rate
        self.line_precision[1:] = np.cumprod(self.delta)

    def _draw_row_scales(self) -> None:
        squares = self.row[:-1].cpu().numpy() ** 2
        width = squares.shape[1]
        self.local.draw(self.rng, (squares / self.overall.square).ravel(), 1)
        local = self.local.square.reshape(-1, width)
        self.overall.draw(self.rng, (squares / local).sum(0), len(squares))

    def snapshot(self) -> dict[str, FloatArray]:
        """The unknowns of the current world."""
        return {
            "row": self.row[:-1].cpu().numpy().copy(),
            "line": self.line.cpu().numpy().copy(),
            "overall": np.sqrt(self.overall.square),
            "noise": np.array([self.tau**-0.5]),
        }

    def _normal(self, *shape: int) -> Tensor:
        return self._tensor(self.rng.standard_normal(shape))

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=self.device)
