"""Conditioning the process on data: exact, or through inducing blocks when there are too many.

Both give ``f(x) = f0(x) + k(x, Z) w`` for a prior draw ``f0``: exact with Z the data and
w = K_y^-1 (y - f0(X) - e), e noise (Matheron's rule); inducing with Z a subset and w from a draw of
the optimal variational posterior of f(Z) (Titsias 2009, eq. 10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.bayes.layers import normal
from models.screen import ScreenError
from models.synergy.gaussian_process.kernel import Kernel, Rows, Tables

EXACT_ROWS = 20_000
"""Blocks up to which the posterior is exact: 1.6 GB and about a minute on two cores."""
INDUCING = 4_000
CHUNK = 512
JITTER = 1e-4


class Solver(Protocol):
    """Data conditioned on; see the module."""

    @property
    def is_exact(self) -> bool:
        """Whether the posterior is that of all data, not of inducing blocks."""
        ...

    def cross(self, rows: Rows) -> Tensor:
        """``(m, len(Z))`` covariances."""
        ...

    def weights(self, prior: Callable[[Rows], Tensor], seed: int) -> Tensor:
        """``(len(Z), n)`` weights that condition ``n`` prior functions."""
        ...

    def left_out(self, count: int) -> Tensor:
        """``(<= count,)`` standardised residuals of data forecast from all other data; none where
        the solution does not give them."""
        ...


@dataclass(frozen=True)
class _Exact:
    kernel: Kernel
    tables: Tables
    rows: Rows
    target: Tensor
    noise: Tensor
    factor: Tensor
    is_exact: bool = True

    def cross(self, rows: Rows) -> Tensor:
        """``(m, n)`` covariances with the data."""
        return self.kernel(rows, self.rows, self.tables)

    def weights(self, prior: Callable[[Rows], Tensor], seed: int) -> Tensor:
        """``(n, functions)`` by Matheron's rule: prior functions and noise drawn, the data's
        rest solved."""
        at = _chunked(prior, self.rows)
        drawn = normal((*at.shape,), torch.Generator().manual_seed(seed), at.device)
        rest = self.target[:, None] - at - self.noise.sqrt()[:, None] * drawn
        weight: Tensor = torch.cholesky_solve(rest, self.factor)
        return weight

    def left_out(self, count: int) -> Tensor:
        """At most ``count`` residuals over their standard deviation: row i of K^-1 y over
        sqrt((K^-1)_ii) (Rasmussen & Williams 2006, eqs. 5.10 to 5.12)."""
        n = len(self.target)
        at = torch.randperm(n, generator=torch.Generator().manual_seed(n))[:count]
        at = at.to(self.target.device)
        probe = torch.zeros(n, len(at), dtype=self.factor.dtype, device=at.device)
        probe[at, torch.arange(len(at), device=at.device)] = 1.0
        # Rows of the inverse factor: their squares sum to the diagonal of the inverse.
        half = torch.linalg.solve_triangular(self.factor, probe, upper=False)
        weight = torch.cholesky_solve(self.target[:, None], self.factor)[at, 0]
        residual: Tensor = weight / half.square().sum(0).sqrt()
        return residual


@dataclass(frozen=True)
class _Inducing:
    """With noise variances L: ``mean`` ``(z,)`` B^-1 K_zn L^-1 y; ``information``: lower factor of
    B = K_zz + K_zn L^-1 K_nz; ``factor``: lower factor of K_zz, all double."""

    kernel: Kernel
    tables: Tables
    rows: Rows
    factor: Tensor
    information: Tensor
    mean: Tensor
    is_exact: bool = False

    def cross(self, rows: Rows) -> Tensor:
        """``(m, z)`` covariances with the inducing blocks."""
        return self.kernel(rows, self.rows, self.tables)

    def weights(self, prior: Callable[[Rows], Tensor], seed: int) -> Tensor:
        """``(z, functions)`` single precision: mean and spread of the inducing values' weights,
        less what the prior functions are there."""
        at = _chunked(prior, self.rows).double()
        drawn = normal((*at.shape,), torch.Generator().manual_seed(seed), at.device).double()
        spread = torch.linalg.solve_triangular(self.information.T, drawn, upper=True)
        weight = self.mean[:, None] + spread - torch.cholesky_solve(at, self.factor)
        result: Tensor = weight.float()
        return result

    def left_out(self, count: int) -> Tensor:
        """None: this solution does not give them."""
        return self.mean[:0]


@torch.no_grad()
def exact_or_inducing(
    kernel: Kernel,
    tables: Tables,
    rows: Rows,
    target: Tensor,
    noise: Tensor,
    exact_rows: int = EXACT_ROWS,
    inducing: int = INDUCING,
) -> Solver:
    """Condition on ``target`` with noise variances ``noise``, ``(m,)`` each, both standardised.

    Raises :class:`ScreenError` where the covariance is not positive definite in this precision.
    """
    if len(target) <= exact_rows:
        covariance = _chunked(lambda part: kernel(part, rows, tables), rows)
        covariance.diagonal().add_(noise)
        return _Exact(kernel, tables, rows, target, noise, cholesky(covariance))
    return _through_subset(kernel, tables, rows, target, noise, inducing)


def _through_subset(
    kernel: Kernel, tables: Tables, rows: Rows, target: Tensor, noise: Tensor, count: int
) -> Solver:
    generator = torch.Generator().manual_seed(len(target))
    chosen = torch.randperm(len(target), generator=generator)[:count].to(target.device)
    points = rows.select(chosen.sort().values)
    own = kernel(points, points, tables).double()
    own.diagonal().add_(JITTER)
    information, mean = own.clone(), torch.zeros(len(points), dtype=torch.float64)
    mean = mean.to(target.device)
    for start in range(0, len(target), CHUNK):
        part = slice(start, start + CHUNK)
        cross = kernel(rows.select(part), points, tables).double()
        weighted = cross / noise[part, None].double()
        information.addmm_(cross.T, weighted)
        mean += weighted.T @ target[part].double()
    factor = cholesky(information)
    solved = torch.cholesky_solve(mean[:, None], factor)[:, 0]
    return _Inducing(kernel, tables, points, cholesky(own), factor, solved)


def cholesky(matrix: Tensor) -> Tensor:
    """Lower factor of a covariance; :class:`ScreenError` in words where it is none."""
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info) != 0:
        raise ScreenError(
            f"the covariance of {len(matrix)} blocks is not positive definite (minor {int(info)}): "
            "the standard errors of the blocks are probably far too small"
        )
    return factor


def _chunked(function: Callable[[Rows], Tensor], rows: Rows) -> Tensor:
    """``function`` over all rows, ``CHUNK`` at a time."""
    parts = range(0, len(rows), CHUNK)
    first = function(rows.select(slice(0, CHUNK)))
    result = torch.empty((len(rows), first.shape[1]), dtype=first.dtype, device=first.device)
    result[:CHUNK] = first
    for start in parts[1:]:
        result[start : start + CHUNK] = function(rows.select(slice(start, start + CHUNK)))
    return result
