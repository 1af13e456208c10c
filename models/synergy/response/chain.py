"""One Markov chain over all unknowns of ``hierarchical_bliss``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.screen import FloatArray
from models.synergy.response.errors import WellErrors
from models.synergy.response.field import Field
from models.synergy.response.hierarchy import CurveHierarchy
from models.synergy.response.newton import GaussianPrior
from models.synergy.response.shrinkage import HalfCauchy, Horseshoe, StudentScales
from models.synergy.response.starts import factor_start, gate_start
from models.synergy.response.table import WellTable

PAIR_UNIT, PAIR_SLAB = 0.1, 1.5
BLOCK_UNIT, BLOCK_SLAB, BLOCK_DF = 0.1, 0.75, 4.0
LINE_UNIT, LINE_SLAB, LINE_MEAN_SD, FACTOR_SLAB = 0.1, 0.3, 0.1, 2.0
CLIMBING_SD, CLIMBING_DF, CLIMBING_PAIR_SD = 0.1, 4.0, 0.3
"""Noise and spread of pairs assumed by the ascent that precedes the chain. Once curves are about
right, wells far off lose weight as under a Student-t with so many degrees of freedom."""


@dataclass(frozen=True)
class Step:
    """How one sweep is done. ``persistence``: of the curves (see :mod:`.newton`). ``pace``: how
    fast the noise's level follows the fit, 0 once it is fixed. ``failing``: may wells be called
    failed. ``scales``: draw the noise, the gate and the scales of interactions, too. ``blocks``,
    ``factors``: draw these."""

    persistence: float
    pace: float
    failing: bool
    scales: bool
    blocks: bool
    factors: bool


@dataclass(frozen=True)
class Ranks:
    """Low-rank dimensions: of the curves' cell-line effects and of the interactions."""

    curves: int = 4
    interactions: int = 4


class Chain:
    """State and sweeps; ``seed`` fixes every number. See :mod:`.field` for the unknowns."""

    def __init__(self, table: WellTable, ranks: Ranks, seed: int, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(seed)
        self.rng = np.random.default_rng([seed, 1])
        self.table, self.device = table, device
        self.field = Field(table, ranks.interactions, generator, device)
        shape = (table.n_compounds, table.n_lines)
        self.curves = CurveHierarchy(table.cells, shape, ranks.curves, self.rng, device)
        self.errors = WellErrors(len(table), self.rng, device, table.noise_scale)
        self.pairs = Horseshoe.start(len(table.pairs), PAIR_UNIT, PAIR_SLAB)
        self.blocks = StudentScales.start(len(table.blocks), BLOCK_UNIT, BLOCK_DF, BLOCK_SLAB)
        entries = ranks.interactions * (ranks.interactions + 1) // 2
        self.line_mean = np.zeros(entries)
        self.line_scale = HalfCauchy.start(LINE_UNIT, 1, LINE_UNIT)
        self.factor_scale = HalfCauchy.start(1.0, ranks.interactions, 1.0)

    def climb(self, *, pairs: bool, factors: bool) -> None:
        """One step of an ascent of curves, and if so of pairs and factors; blocks stay at rest."""
        field = self.field
        squares = (field.viability - field.level).square() if pairs else field.weight * 0.0
        field.weight = 1.0 / (CLIMBING_SD**2 + squares / CLIMBING_DF)
        self.field.draw_curves(self.curves.prior(), 0.0, climb=True)
        self.curves.draw(self.field.theta[:-1], scales=False)
        self.errors.follow(self.field.level, 1.0)
        if pairs and len(self.table.pairs):
            self._climb_interactions(factors)

    def place_factors(self) -> None:
        """Put the factors of interactions where the data point (see :mod:`.starts`)."""
        if len(self.table.pairs):
            self.field.compound[:-1] = self._tensor(factor_start(self.field))
            self.field.line.zero_()
            self.field.finish_interactions()

    def _climb_interactions(self, factors: bool) -> None:
        field, typical = self.field, self.errors.level
        field.set_gate(gate_start(field))
        wide = np.full(len(self.table.pairs), CLIMBING_PAIR_SD**-2)
        field.draw_interactions("pair", self._centred(wide), typical, climb=True)
        if factors:
            field.draw_interactions("line", self._line_prior(), typical, climb=True)
            field.draw_interactions("compound", self._compound_prior(), typical, climb=True)
        field.finish_interactions()

    def sweep(self, step: Step) -> None:
        """Draw everything once."""
        field = self.field
        field.weight = self.errors.weight()
        field.draw_curves(self.curves.prior(), step.persistence)
        self._draw_interactions(step)
        self.curves.draw(field.theta[:-1])
        if step.pace > 0:
            self.errors.follow(field.level, step.pace)
        residual = field.viability - field.level
        self.errors.draw(residual, failing=step.failing, scales=step.scales)

    def _draw_interactions(self, step: Step) -> None:
        field, typical = self.field, self.errors.level
        field.draw_interactions("pair", self._centred(self.pairs.precision()), typical)
        if step.blocks:
            field.draw_interactions("block", self._centred(self.blocks.precision()), typical)
        if step.factors:
            field.draw_interactions("line", self._line_prior(), typical)
            field.draw_interactions("compound", self._compound_prior(), typical)
        field.finish_interactions()
        self.pairs.draw(self.rng, self._numpy(field.pair[:-1, 0]))
        if not step.scales:
            return
        field.draw_gate()
        if step.blocks:
            self.blocks.draw(self.rng, self._numpy(field.block[:-1, 0]))
        self._draw_line_scales(self._numpy(field.line))

    def _line_prior(self) -> GaussianPrior:
        """N(mean, scale^2) times the slab N(0, LINE_SLAB^2)."""
        own = np.full(len(self.line_mean), 1.0 / self.line_scale.square[0])
        precision = own + 1.0 / LINE_SLAB**2
        rows = (self.table.n_lines, 1)
        mean = np.tile(own * self.line_mean / precision, rows)
        return GaussianPrior(self._tensor(mean), self._tensor(np.tile(precision, rows)))

    def _compound_prior(self) -> GaussianPrior:
        precision = self._tensor(1.0 / self.factor_scale.square + 1.0 / FACTOR_SLAB**2)
        precision = precision.expand_as(self.field.compound[:-1])
        return GaussianPrior(torch.zeros_like(precision), precision)

    def _draw_line_scales(self, line: FloatArray) -> None:
        """One scale for all entries of the matrices, one for each factor of the compounds."""
        precision = 1.0 / LINE_MEAN_SD**2 + len(line) / self.line_scale.square
        centre = line.sum(0) / self.line_scale.square / precision
        noise = self.rng.standard_normal(len(centre)) / np.sqrt(precision)
        self.line_mean = centre + noise
        squares = np.array([((line - self.line_mean) ** 2).sum()])
        self.line_scale.draw(self.rng, squares, line.size)
        factors = self._numpy(self.field.compound[:-1])
        self.factor_scale.draw(self.rng, (factors**2).sum(0), len(factors))

    def snapshot(self) -> dict[str, FloatArray]:
        """Every unknown of the current world, as arrays; what :mod:`.worlds` predicts from."""
        field, curves = self.field, self.curves
        coefficient = self._numpy(curves.coefficient)
        return {
            "theta": self._numpy(field.theta[:-1]),
            "mean": coefficient[..., 0],
            "load": coefficient[..., 1:],
            "factor": self._numpy(curves.factor),
            "scatter": curves.scatter,
            "pair": self._numpy(field.pair[:-1, 0]),
            "block": self._numpy(field.block[:-1, 0]),
            "line": self._numpy(field.line),
            "compound": self._numpy(field.compound[:-1]),
            "pair_scale": np.sqrt(self.pairs.overall.square),
            "block_scale": np.sqrt(self.blocks.overall.square),
            "gamma": self._numpy(field.gamma.reshape(1)),
            "noise": self.errors.sd,
            "failed": np.array([self.errors.share]),
        }

    def _centred(self, precision: FloatArray) -> GaussianPrior:
        column = self._tensor(precision)[:, None]
        return GaussianPrior(torch.zeros_like(column), column)

    def _numpy(self, values: Tensor) -> FloatArray:
        return np.asarray(values.detach().cpu().numpy(), dtype=np.float64).copy()

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float64, device=self.device)
