"""Whole functions from the prior of the kernel, to be conditioned on data.

Each term of the kernel is a sum or product of kernels over few things (compounds, lines, cells), so
a draw is a small table that any block reads. Radial factors are random Fourier features (Rahimi
& Recht 2007), products are sums of products of independent draws; both are new in every draw,
so the covariance over draws is the kernel exactly, and the law Gaussian up to ``FEATURES``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.bayes.layers import normal
from models.synergy.gaussian_process.kernel import (
    ADDITIVE_TERMS,
    Kernel,
    Rows,
    Tables,
    bliss_shift,
    left_over,
    mixture,
)
from models.synergy.gaussian_process.module_terms import line_kernels

FEATURES = 32
DRAWS_AT_ONCE = 16
MOST_TABLE = 8
"""All pairs of the compounds of some rows are computed at once where these are at most so many
times the rows that were asked for."""


class PriorDraws:
    """``n`` functions; call with rows for ``(len(rows), n)`` values."""

    @torch.no_grad()
    def __init__(self, kernel: Kernel, tables: Tables, n: int, seed: int) -> None:
        self.n, self.tables = n, tables
        self._generator = torch.Generator().manual_seed(seed)
        self._device = tables.lines.device
        self._line = self._of(mixture(kernel.log_line, tables.lines), n).T.contiguous()
        self._shift = math.exp(0.5 * float(kernel.log_curve)) * self._normal(n)
        parts = [
            self._cells(kernel, min(DRAWS_AT_ONCE, n - start))
            for start in range(0, n, DRAWS_AT_ONCE)
        ]
        self._cell = torch.cat([part[0] for part in parts], dim=1)
        cells = tables.n_compounds * tables.n_cell_lines
        self._shifts = math.exp(0.5 * float(kernel.log_shift)) * self._normal(cells, n)
        self._response = tuple(torch.cat([p[1][k] for p in parts], dim=1) for k in (0, 1))
        self._pair = self._pairs(kernel)
        self._plate = self._plates(kernel)
        self._modules = self._modules_of(kernel)

    @torch.no_grad()
    def __call__(self, rows: Rows) -> Tensor:
        """``(len(rows), n)`` values of every function; fast where a line has many of the rows."""
        total = self._line[rows.line] + self._cell[rows.cell_a] + self._cell[rows.cell_b]
        v_a, v_b = left_over(rows, self.tables)
        total = total + self._shifts[rows.cell_a] * v_b[:, None]
        total = total + self._shifts[rows.cell_b] * v_a[:, None]
        total = total + bliss_shift(rows, self.tables)[:, None] * self._shift
        for line in torch.unique(rows.line).tolist():
            at = torch.nonzero(rows.line == line)[:, 0]
            total[at] += self._products(rows.select(at), line)
        return total

    def _products(self, rows: Rows, line: int) -> Tensor:
        """``(m, n)`` the terms that are products of two compounds, for rows of one line."""
        left, right = self._response
        total = _HALF * _crossed(left, right, rows.cell_a, rows.cell_b, None)
        for (left, right, lines), scale in ((self._pair, _HALF), (self._plate, 1.0)):
            total = total + scale * _crossed(left, right, rows.a, rows.b, lines[line])
        for one in self._modules:
            left, right, lines = one.product
            total = total + _HALF * _crossed(left, right, rows.a, rows.b, lines[line])
            total = total + (one.sums[line][rows.a] + one.sums[line][rows.b])
            total = total + one.pairs[rows.a, rows.b] @ one.slopes[line]
        return total

    def _cells(self, kernel: Kernel, n: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Additive part ``(cells, n)`` and both factors of the response product of ``n`` draws."""
        tables = self.tables
        plain = torch.zeros(n, tables.n_compounds, tables.n_cell_lines, device=self._device)
        curved = torch.zeros(n * FEATURES, *plain.shape[1:], device=self._device)
        for weight, (curve, compound, line) in zip(
            torch.exp(0.5 * kernel.log_additive).tolist(), ADDITIVE_TERMS, strict=True
        ):
            table = curved if curve else plain
            z = self._normal(*table.shape)
            left, right = _root(tables.compounds[compound]), _root(tables.lines[line])
            table += weight * (left @ z @ right.T)
        waves = self._waves(kernel, n)
        flat = curved.reshape(n, FEATURES, -1).permute(2, 0, 1)
        additive = plain.reshape(n, -1).T + (flat * waves).mean(2) * math.sqrt(FEATURES)
        compounds = mixture(kernel.log_response, tables.compounds)
        return additive.contiguous(), (
            self._spread(self._of(compounds, n * FEATURES), n) * self._waves(kernel, n),
            self._spread(self._of(compounds, n * FEATURES), n) * self._waves(kernel, n),
        )

    def _waves(self, kernel: Kernel, n: int) -> Tensor:
        """``(cells, n, features)`` random Fourier features of variance 1 with covariance R."""
        responses = self.tables.responses
        scale = torch.exp(-kernel.log_length) / math.sqrt(max(responses.shape[1], 1))
        frequency = self._normal(responses.shape[1], n * FEATURES)
        phase = 2 * math.pi * self._uniform(n * FEATURES)
        waves = math.sqrt(2) * torch.cos((responses * scale) @ frequency + phase)
        return waves.reshape(len(responses), n, FEATURES)

    def _spread(self, values: Tensor, n: int) -> Tensor:
        """``(n * features, compounds)`` to ``(cells, n, features)``."""
        table = values.T.reshape(-1, n, FEATURES)
        return table.repeat_interleave(self.tables.n_cell_lines, dim=0)

    def _pairs(self, kernel: Kernel) -> tuple[Tensor, Tensor, Tensor]:
        compounds = mixture(kernel.log_pair, self.tables.compounds[1:])
        return self._product(compounds, compounds, kernel.pair_lines(self.tables))

    def _plates(self, kernel: Kernel) -> tuple[Tensor, Tensor, Tensor]:
        lines = kernel.layout_lines(self.tables)
        return self._product(self.tables.compounds[1], self.tables.groups, lines)

    def _modules_of(self, kernel: Kernel) -> list[_ModuleDraws]:
        found: list[_ModuleDraws] = []
        tables = self.tables
        if kernel.log_modules is None:
            return found
        for module, weight in zip(tables.modules, kernel.log_modules, strict=True):
            sums, product, slopes = line_kernels(weight, module.skill, tables.lines)
            lines, n = tables.n_cell_lines, self.n
            z = self._normal(lines, tables.n_compounds * n)
            alone = (_root(sums) @ z).reshape(lines, tables.n_compounds, n)
            alone = _root(module.compounds) @ alone
            slope = self._normal(lines, module.pairs.shape[2] * n)
            slope = (_root(slopes) @ slope).reshape(lines, module.pairs.shape[2], n)
            both = self._product(module.compounds, module.compounds, product)
            found.append(_ModuleDraws(alone, both, module.pairs, slope))
        return found

    def _product(self, left: Tensor, right: Tensor, lines: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drawn = (self._of(kernel, self.n * FEATURES) for kernel in (left, right, lines))
        first, second, line = (d.T.reshape(-1, self.n, FEATURES).contiguous() for d in drawn)
        return first, second, line

    def _of(self, kernel: Tensor, n: int) -> Tensor:
        """``(n, things)`` draws of a Gaussian with this covariance."""
        return self._normal(n, len(kernel)) @ _root(kernel).T

    def _normal(self, *shape: int) -> Tensor:
        return normal(shape, self._generator, self._device)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._generator).to(self._device)


@dataclass(frozen=True)
class _ModuleDraws:
    """Of one module: ``sums`` ``(l, compounds, n)``, the factors of its product, and ``slopes``
    ``(l, q, n)`` for the numbers of ``pairs``."""

    sums: Tensor
    product: tuple[Tensor, Tensor, Tensor]
    pairs: Tensor
    slopes: Tensor


_HALF = math.sqrt(0.5)


def _crossed(left: Tensor, right: Tensor, a: Tensor, b: Tensor, line: Tensor | None) -> Tensor:
    """``(m, n)`` sum over features of (left_a right_b + left_b right_a) line / sqrt(features).

    ``left``, ``right``: ``(things, n, features)``. ``line``: ``(n, features)``.
    """
    things, where = torch.unique(torch.stack([a, b]), return_inverse=True)
    first, second = left[things], right[things]
    if line is not None:
        first = first * line
    if len(things) ** 2 > MOST_TABLE * len(a):
        both = first[where[0]] * second[where[1]] + first[where[1]] * second[where[0]]
        return both.sum(2) / math.sqrt(FEATURES)
    table = torch.bmm(first.transpose(0, 1), second.permute(1, 2, 0))
    both = table + table.transpose(1, 2)
    return both[:, where[0], where[1]].T / math.sqrt(FEATURES)


def _root(kernel: Tensor) -> Tensor:
    """``A`` with ``A A' = kernel``; rounding below zero counts as zero."""
    values, vectors = torch.linalg.eigh(kernel.double())
    return functional.relu(values).sqrt().mul(vectors).to(kernel.dtype)
