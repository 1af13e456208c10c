"""How many of some candidates would be hits, without a model: from chances that were kept.

Kept are half floats, candidate by candidate, one for each world (a posterior draw): within a world
candidates are independent, between worlds they err together. So the number of hits is a mixture
of Poisson-binomial counts. The API process has no numpy, and needs none for a thousand of them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

LEVEL = 0.9
MOST_EXACT = 64
"""Candidates whose hits are counted exactly; more of them are nearly normal in each world."""


@dataclass(frozen=True)
class HitCount:
    """``expected`` hits, and a central interval of ``level``."""

    expected: float
    low: int
    high: int
    level: float = LEVEL


def unpack_chances(packed: bytes, n_ranked: int, rows: Sequence[int]) -> list[list[float]]:
    """One list for each world, with the chance of each candidate at ``rows`` (from 0)."""
    content = zlib.decompress(packed)
    n_worlds = len(content) // (2 * n_ranked)
    by_row = [struct.unpack_from(f"<{n_worlds}e", content, row * 2 * n_worlds) for row in rows]
    return [[chances[world] for chances in by_row] for world in range(n_worlds)]


def count_hits(worlds: Sequence[Sequence[float]], expected: float) -> HitCount:
    """The interval of a mixture over ``worlds``; ``expected``: sum of the stated chances."""
    n = len(worlds[0]) if worlds else 0
    if not n:
        return HitCount(0.0, 0, 0)
    below = [0.0] * (n + 1)
    for chances in worlds:
        counted = _exact(chances) if n <= MOST_EXACT else _normal(chances)
        for hits, probability in enumerate(counted):
            below[hits] += probability / len(worlds)
    tail = (1 - LEVEL) / 2
    return HitCount(expected, _reached(below, tail), _reached(below, 1 - tail))


def _exact(chances: Sequence[float]) -> list[float]:
    """P(hits <= x) for x = 0, 1, ... of independent candidates."""
    probability = [1.0]
    for p in chances:
        longer = [*probability, 0.0]
        for hits in range(len(probability), 0, -1):
            longer[hits] = longer[hits] * (1 - p) + probability[hits - 1] * p
        longer[0] *= 1 - p
        probability = longer
    total, below = 0.0, []
    for one in probability:
        total += one
        below.append(total)
    return below


def _normal(chances: Sequence[float]) -> list[float]:
    """The same by the normal law with a correction for whole numbers."""
    variance = sum(p * (1 - p) for p in chances)
    law = NormalDist(sum(chances), max(variance, 1e-12) ** 0.5)
    return [law.cdf(hits + 0.5) for hits in range(len(chances))] + [1.0]


def _reached(below: Sequence[float], share: float) -> int:
    return next((hits for hits, value in enumerate(below) if value >= share - 1e-9), len(below) - 1)
