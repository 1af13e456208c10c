"""The response surface of ``hierarchical_bliss``: one function for fits and predictions.

A compound has in each cell line a Hill curve with three unknowns: ``log C`` (natural logarithm,
relative to the middle of the compound's log-dose range), ``log h`` and ``eta``, with
``Emax = HIGHEST * sigmoid(eta)``. With ``x`` the log dose from the same middle,

    s = sigmoid(h (x - log C)),   E = 1 + (Emax - 1) s,   gate = s ** gamma,

and a well with compounds i, j, ... has the viability

    prod_i E_i * exp(- sum_{i<j} gate_i gate_j kappa_ij),        kappa > 0: synergy.

The strength of a pair in cell line l is kappa_ij = a_i' D_l a_j + pair_ij + block_ijl, with a few
factors ``a`` of each compound and a symmetric matrix ``D`` of each cell line. A diagonal ``D``
would be the trilinear form of tensor models; the full one has the same prior in every rotation
of the factors, and chains find it where they get stuck in the other.

At dose 0 ``x`` is minus infinity: E is exactly 1, the gate exactly 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HIGHEST = 1.05
"""Largest Emax: a compound may make a well a little brighter than its controls."""

PAIR_SLOTS: dict[int, tuple[tuple[int, int], ...]] = {
    1: (),
    2: ((0, 1),),
    3: ((0, 1), (0, 2), (1, 2)),
}
"""Pairs of slots in a well of so many slots."""


def pair_features(first: Tensor, second: Tensor) -> Tensor:
    """Features ``(..., s (s + 1) / 2)`` of which ``first' D second`` is linear, ``D`` symmetric.

    ``first``, ``second``: ``(..., s)`` factors of two compounds; swapping them changes no bit.
    """
    size = first.shape[-1]
    parts = [first[..., r] * second[..., r] for r in range(size)]
    parts += [
        first[..., r] * second[..., t] + first[..., t] * second[..., r]
        for r in range(size)
        for t in range(r + 1, size)
    ]
    return torch.stack(parts, dim=-1)


def symmetric(entries: Tensor, size: int) -> Tensor:
    """``(..., s, s)`` matrices of the entries that go with :func:`pair_features`."""
    matrix = torch.diag_embed(entries[..., :size])
    k = size
    for r in range(size):
        for t in range(r + 1, size):
            matrix[..., r, t] = matrix[..., t, r] = entries[..., k]
            k += 1
    return matrix


@dataclass(frozen=True)
class CurveValues:
    """Values and slopes of curves at one log dose each; all of one shape.

    ``effect``: E. ``log_occupancy``: log s. ``z``: h (x - log C). ``slope``: d E / d z.
    ``lift``: d E / d eta. ``free``: 1 - s. ``steepness``: h.
    """

    effect: Tensor
    log_occupancy: Tensor
    z: Tensor
    slope: Tensor
    lift: Tensor
    free: Tensor
    steepness: Tensor


def curve_values(theta: Tensor, which: Tensor, x: Tensor) -> CurveValues:
    """Curves number ``which`` ``(...)`` of unknowns ``(u, 3)`` at finite log doses ``(...)``."""
    share = torch.sigmoid(theta[:, 2])
    drop, gain = HIGHEST * share - 1.0, HIGHEST * share * (1.0 - share)
    flat = which.reshape(-1)
    columns = (theta[:, 0], theta[:, 1].exp(), drop, gain)
    log_c, steepness, drop, gain = (c.index_select(0, flat).view_as(x) for c in columns)
    z = steepness * (x - log_c)
    s = torch.sigmoid(z)
    free = 1.0 - s
    depth = drop * s
    return CurveValues(
        effect=1.0 + depth,
        log_occupancy=torch.nn.functional.logsigmoid(z),
        z=z,
        slope=depth * free,
        lift=gain * s,
        free=free,
        steepness=steepness,
    )


def effect_and_gate(theta: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """``E`` and ``gate`` without their slopes; ``x`` may be minus infinity (dose 0)."""
    z = theta[..., 1].exp() * (x - theta[..., 0])
    effect = 1.0 + (HIGHEST * torch.sigmoid(theta[..., 2]) - 1.0) * torch.sigmoid(z)
    return effect, torch.exp(gamma * torch.nn.functional.logsigmoid(z))
