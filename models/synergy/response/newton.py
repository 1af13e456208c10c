"""Draws of small blocks of unknowns by Newton steps that a Metropolis test makes exact.

For each unit the log posterior is approximated at the current point ``x`` by the Gauss-Newton
matrix ``G`` and the gradient ``g``, and the next point proposed from

    N(x + (1 - r) G^-1 g,  (1 - r^2) G^-1),        0 <= r < 1.

If the model is linear in the unit this is its exact conditional for ``r = 0`` (and a step that
keeps it for any ``r``), and the test accepts always. Source: Qi & Minka, *Hessian-based Markov
chain Monte Carlo* (2002); Girolami & Calderhead, JRSS B 73 (2011), 123.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fit:
    """How well the wells of each unit agree with it.

    ``log_density``: ``(u,)`` up to a constant. ``gradient``: ``(u, d)``. ``matrix``:
    ``(u, d, d)`` Gauss-Newton. ``cache``: per-entry values that the owner keeps if this wins.
    """

    log_density: Tensor
    gradient: Tensor
    matrix: Tensor
    cache: tuple[Tensor, ...]


@dataclass(frozen=True)
class Slope:
    """``log_density`` ``(u,)`` and ``gradient`` ``(u, d)`` of the wells; ``level``: ``(e,)``."""

    log_density: Tensor
    gradient: Tensor
    level: Tensor


Evaluate = Callable[[Tensor], Fit]
"""Fit of values ``(u, d)``."""


@dataclass(frozen=True)
class GaussianPrior:
    """Independent normals: ``mean``, ``precision`` ``(u, d)``."""

    mean: Tensor
    precision: Tensor


@dataclass(frozen=True)
class Moved:
    """``value``: ``(u, d)`` after the test; ``accepted``: ``(u,)`` bool; ``cache``: its cache."""

    value: Tensor
    accepted: Tensor
    cache: tuple[Tensor, ...]


def gather_fit(
    residual: Tensor,
    jacobian: tuple[Tensor, ...],
    weight: Tensor,
    sums: Tensor,
    cache: tuple[Tensor, ...],
) -> Fit:
    """Least-squares fit of the entries ``(e,)`` with ``d`` derivatives, added up by unit."""
    size = len(jacobian)
    weighted = [column * weight for column in jacobian]
    upper = [(i, j) for i in range(size) for j in range(i, size)]
    columns = [residual * residual * weight]
    columns += [column * residual for column in weighted]
    columns += [weighted[i] * jacobian[j] for i, j in upper]
    total = sums @ torch.stack(columns, dim=1)
    matrix = total.new_empty((len(total), size, size))
    for k, (i, j) in enumerate(upper):
        matrix[:, i, j] = matrix[:, j, i] = total[:, 1 + size + k]
    return Fit(-0.5 * total[:, 0], total[:, 1 : 1 + size], matrix, cache)


def newton_metropolis(
    value: Tensor,
    prior: GaussianPrior,
    evaluate: Evaluate,
    spread_cache: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    persistence: float = 0.0,
) -> Moved:
    """One draw of every unit. ``spread_cache`` turns ``(u,)`` decisions into one per cached entry.

    ``persistence`` is ``r`` above: smaller steps, accepted more often. A proposal whose density
    is not finite is refused.
    """
    here = _Local.at(value, prior, evaluate(value), persistence)
    noise = torch.randn(value.shape, generator=generator, dtype=value.dtype, device=value.device)
    proposal = here.mean + here.scatter(noise)
    there = _Local.at(proposal, prior, evaluate(proposal), persistence)
    ratio = there.log_posterior - here.log_posterior
    ratio = ratio + there.log_proposal(value) - here.log_proposal(proposal)
    uniform = torch.rand(len(value), generator=generator, dtype=value.dtype, device=value.device)
    accepted = torch.nan_to_num(ratio, nan=-torch.inf) > uniform.log()
    return _decided(value, proposal, accepted, here.fit, there.fit, spread_cache)


def fixed_metropolis(
    value: Tensor,
    prior: GaussianPrior,
    matrix: Tensor,
    evaluate: Callable[[Tensor], Slope],
    generator: torch.Generator,
    *,
    climb: bool = False,
) -> tuple[Tensor, Tensor, Slope, Slope]:
    """As :func:`newton_metropolis` with ``r = 0`` and a matrix that does not depend on the units.

    ``matrix``: ``(u, d, d)`` of the wells. Returns the value, who accepted, and the slopes before
    and at the proposal. ``climb``: the Newton step without noise, taken where it climbs.
    """
    precision = matrix + torch.diag_embed(prior.precision)
    factor = precision.sqrt() if value.shape[1] == 1 else torch.linalg.cholesky(precision)
    here = evaluate(value)
    forward = value + _solved(factor, here.gradient - prior.precision * (value - prior.mean))
    noise = torch.randn(value.shape, generator=generator, dtype=value.dtype, device=value.device)
    proposal = forward if climb else forward + _scattered(factor, noise)
    there = evaluate(proposal)
    back = proposal + _solved(factor, there.gradient - prior.precision * (proposal - prior.mean))
    ratio = there.log_density - here.log_density
    ratio = ratio - 0.5 * (prior.precision * (proposal - prior.mean).square()).sum(-1)
    ratio = ratio + 0.5 * (prior.precision * (value - prior.mean).square()).sum(-1)
    if climb:
        wins = ratio > 0
        return torch.where(wins[:, None], proposal, value), wins, here, there
    ratio = ratio - 0.5 * _length(factor, value - back) + 0.5 * noise.square().sum(-1)
    uniform = torch.rand(len(value), generator=generator, dtype=value.dtype, device=value.device)
    accepted = torch.nan_to_num(ratio, nan=-torch.inf) > uniform.log()
    return torch.where(accepted[:, None], proposal, value), accepted, here, there


def _solved(factor: Tensor, right: Tensor) -> Tensor:
    if right.shape[1] == 1:
        return right / factor[..., 0].square()
    return torch.cholesky_solve(right[..., None], factor)[..., 0]


def _scattered(factor: Tensor, noise: Tensor) -> Tensor:
    if noise.shape[1] == 1:
        return noise / factor[..., 0]
    drawn: Tensor = torch.linalg.solve_triangular(factor.mT, noise[..., None], upper=True)
    return drawn[..., 0]


def _length(factor: Tensor, away: Tensor) -> Tensor:
    if away.shape[1] == 1:
        return (factor[..., 0] * away).square()[:, 0]
    return (factor.mT @ away[..., None]).square().sum((-1, -2))


def newton_ascent(
    value: Tensor,
    prior: GaussianPrior,
    evaluate: Evaluate,
    spread_cache: Callable[[Tensor], Tensor],
    longest: float = 1.0,
) -> Moved:
    """One Newton step uphill of every unit, no longer than ``longest`` in any direction.

    Half of the step is taken where the whole does not climb, none where half does not either.
    """
    here = _Local.at(value, prior, evaluate(value), 0.0)
    step = here.mean - value
    step = step / (step.abs().amax(dim=1, keepdim=True) / longest).clamp(min=1.0)
    moved = Moved(value, here.log_posterior > torch.inf, here.fit.cache)
    fit = here.fit
    for share in (0.3, 1.0):
        proposal = value + share * step
        there = _Local.at(proposal, prior, evaluate(proposal), 0.0)
        better = there.log_posterior > here.log_posterior
        moved = _decided(moved.value, proposal, better, fit, there.fit, spread_cache)
        fit = Fit(fit.log_density, fit.gradient, fit.matrix, moved.cache)
    return moved


@dataclass(frozen=True)
class _Local:
    """The Gaussian proposal around one point."""

    fit: Fit
    log_posterior: Tensor
    factor: Tensor
    mean: Tensor
    shrink: float

    @classmethod
    def at(cls, value: Tensor, prior: GaussianPrior, fit: Fit, persistence: float) -> _Local:
        """The proposal at ``value`` ``(entries, p)``; its log posterior is NaN where the
        curvature has no Cholesky factor. ``persistence``: share of the distance from the
        mean that is kept."""
        away = value - prior.mean
        matrix = fit.matrix + torch.diag_embed(prior.precision)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        gradient = fit.gradient - prior.precision * away
        step = torch.cholesky_solve(gradient[..., None], factor)[..., 0]
        density = fit.log_density - 0.5 * (prior.precision * away * away).sum(-1)
        density = torch.where(failed > 0, torch.full_like(density, torch.nan), density)
        shrink = (1.0 - persistence**2) ** 0.5
        return cls(fit, density, factor, value + (1.0 - persistence) * step, shrink)

    def scatter(self, noise: Tensor) -> Tensor:
        """Standard normal ``noise`` ``(entries, p)`` with the spread of the proposal."""
        upper = self.factor.transpose(-1, -2)
        drawn: Tensor = torch.linalg.solve_triangular(upper, noise[..., None], upper=True)
        return self.shrink * drawn[..., 0]

    def log_proposal(self, value: Tensor) -> Tensor:
        """``(entries,)`` log density of proposing ``value``, up to a constant."""
        away = (self.factor.transpose(-1, -2) @ (value - self.mean)[..., None])[..., 0]
        height = torch.diagonal(self.factor, dim1=-2, dim2=-1).log().sum(-1)
        return height - 0.5 * (away * away).sum(-1) / self.shrink**2


def _decided(
    old: Tensor,
    new: Tensor,
    wins: Tensor,
    old_fit: Fit,
    new_fit: Fit,
    spread_cache: Callable[[Tensor], Tensor],
) -> Moved:
    at_entry = spread_cache(wins)
    cache = tuple(
        torch.where(at_entry, b, a) for a, b in zip(old_fit.cache, new_fit.cache, strict=True)
    )
    return Moved(torch.where(wins[:, None], new, old), wins, cache)
