"""What the targets of a compound reach in a network, with signs, within a few hops."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.screen import FloatArray, ScreenError

HOPS = 3
"""Edges on the longest path that counts, where nothing else is said."""


@dataclass(frozen=True)
class Reached:
    """One gene that a compound reaches: ``hops`` along the shortest path (0 for a target), and
    ``effect``: its response in pushes when every target is switched off (-1 is off)."""

    gene: str
    hops: int
    effect: float


@dataclass(frozen=True)
class Neighbourhood:
    """All that the ``targets`` reach, nearest first, then strongest, then by name."""

    targets: tuple[str, ...]
    reached: tuple[Reached, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def propagation(weights: FloatArray, hops: int) -> FloatArray:
    """S = sum of W^k for k = 0..hops: response of every gene to a push of every other.

    ``weights`` ``(g, g)``, regulators in rows, in pushes of the target per push of the regulator.
    Raises :class:`ScreenError` for fewer than 1 hop or weights that are not square and finite.
    """
    if hops < 1:
        raise ScreenError("a neighbourhood needs at least one hop")
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or not np.isfinite(weights).all():
        raise ScreenError("a network is a square table of finite weights")
    total = power = np.eye(len(weights))
    for _ in range(hops):
        power = power @ weights
        total = total + power
    return total


def responses_to(weights: FloatArray, targets: list[int], hops: int) -> FloatArray:
    """``(g,)`` responses in pushes when the genes at these positions are switched off.

    Targets stay off: what would flow back into them through loops is left out.
    """
    held = weights.copy()
    held[:, targets] = 0.0
    push = np.zeros(len(weights))
    push[targets] = -1.0
    return np.asarray(push @ propagation(held, hops))


def distances_from(weights: FloatArray, targets: list[int], hops: int) -> FloatArray:
    """``(g,)`` edges on the shortest path from any target; infinite beyond ``hops``."""
    far = np.full(len(weights), np.inf)
    far[targets] = 0
    front = np.zeros(len(weights), dtype=bool)
    front[targets] = True
    for step in range(1, hops + 1):
        front = (weights[front] != 0).any(axis=0) & np.isinf(far)
        far[front] = step
    return far


def neighbourhood(
    genes: tuple[str, ...], weights: FloatArray, targets: tuple[str, ...], hops: int = HOPS
) -> Neighbourhood:
    """What these targets reach. Raises :class:`ScreenError` for a target outside the network."""
    unknown = sorted(set(targets) - set(genes))
    if unknown or not targets:
        raise ScreenError(f"targets outside the network: {', '.join(unknown) or 'none given'}")
    at = sorted({genes.index(target) for target in targets})
    effect, far = responses_to(weights, at, hops), distances_from(weights, at, hops)
    found = [
        Reached(genes[i], int(far[i]), float(effect[i])) for i in np.flatnonzero(np.isfinite(far))
    ]
    found.sort(key=lambda reached: (reached.hops, -abs(reached.effect), reached.gene))
    return Neighbourhood(tuple(sorted(set(targets))), tuple(found))
