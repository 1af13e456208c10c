"""Terms of the kernel that modules add: see :class:`models.synergy.modules.Module`.

With z(a) the coordinates of a compound, x(a, b) the standardised numbers of a pair, both 0 where
unknown, K(a, c) = z(a) . z(c), and lines L = weight x 1 + weight x 1[l = m] for each term,

    k((a, b, l), (c, d, m)) = skill x {
        [K(a, c) + K(a, d) + K(b, c) + K(b, d)] L1(l, m)          linear in the sum of z
      + [K(a, c) K(b, d) + K(a, d) K(b, c)] L2(l, m)              bilinear forms of both z
      + x(a, b) . x(c, d) L3(l, m) }                              linear in the pair

A compound or pair of which a module says nothing gets nothing from it. Weights are learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.synergy.gaussian_process.indexing import gather, pick_columns, symmetric_product
from models.synergy.inputs import module_coordinates
from models.synergy.modules import Module

if TYPE_CHECKING:
    from models.synergy.gaussian_process.kernel import Rows

TERMS = ("additive", "product", "pairs")
START = ((0.01, 0.003), (0.03, 0.01), (0.03, 0.01))
"""Where learning starts: of each term, over all lines and in one line."""


@dataclass(frozen=True)
class ModuleTables:
    """``compounds``: ``(n, n)`` K. ``pairs``: ``(n, n, q)`` x; float32."""

    name: str
    skill: float
    compounds: Tensor
    pairs: Tensor

    @classmethod
    def of(cls, module: Module, device: torch.device) -> ModuleTables:
        """Of a module with skill above 0."""
        z = module_coordinates(module)
        tables = (z @ z.T, module.standardised_pairs())
        made = (torch.tensor(t, dtype=torch.float32, device=device) for t in tables)
        return cls(module.name, module.skill, *made)


def start(count: int) -> Tensor:
    """``(modules, terms, 2)`` logarithms of weights."""
    return torch.log(torch.tensor(START)).repeat(count, 1, 1)


def line_kernels(log_weight: Tensor, skill: float, lines: Tensor) -> Tensor:
    """``(terms, l, l)`` L of one module, its skill included."""
    return skill * torch.einsum("th,hij->tij", torch.exp(log_weight), lines[:2])


def covariance(
    module: ModuleTables, log_weight: Tensor, lines: Tensor, first: Rows, second: Rows
) -> Tensor:
    """``(len(first), len(second))``. ``log_weight``: ``(terms, 2)``. ``lines``: ``(2 +, l, l)``."""
    k = module.compounds
    left, right = k[first.a], k[first.b]
    sums = left + right
    terms = (
        pick_columns(sums, second.a) + pick_columns(sums, second.b),
        symmetric_product(left, right, second.a, second.b),
        module.pairs[first.a, first.b] @ module.pairs[second.a, second.b].T,
    )
    over = line_kernels(log_weight, module.skill, lines)
    total = torch.zeros(len(first), len(second), device=k.device)
    for term, own in zip(terms, over, strict=True):
        total = total + term * gather(own, first.line, second.line)
    return total


def describe(
    modules: tuple[ModuleTables, ...], log_weights: Tensor | None
) -> dict[str, dict[str, float]]:
    """By module, JSON-able: the weight of each term, over all lines and in one together, skill
    included. Nothing where there are no modules."""
    found = {}
    for module, own in zip(modules, () if log_weights is None else log_weights, strict=True):
        weight = (module.skill * torch.exp(own)).sum(dim=1).tolist()
        found[module.name] = {n: float(f"{w:.3g}") for n, w in zip(TERMS, weight, strict=True)}
    return found
