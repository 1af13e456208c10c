"""Small screens for the score networks: one of everything, and two of the same chemistry."""

from __future__ import annotations

from functools import cache

import numpy as np

from models.screen import Candidates, CellLineTable, CompoundTable
from models.synergy.inputs import Features, ScoredBlocks, Training

N, LINES = 12, 4
CLASSES, BITS, GENES = 5, 40, 12


def all_blocks(n: int, lines: int) -> Candidates:
    """Every pair in every line."""
    first, second = np.triu_indices(n, k=1)
    return Candidates.of(
        np.tile(first, lines), np.tile(second, lines), np.repeat(np.arange(lines), len(first))
    )


@cache
def features() -> Features:
    """Compound 11 has no structure, line 3 no features, and one curve is unknown."""
    rng = np.random.default_rng(0)
    bits = (rng.random((N, BITS)) < 0.3).astype(np.uint8)
    bits[-1] = 0
    lines = rng.normal(size=(LINES, GENES))
    lines[-1] = 0
    curves = rng.normal(size=(N, LINES, 3))
    curves[2, 1] = np.nan
    return Features(
        CompoundTable(tuple(f"c{i}" for i in range(N)), bits, np.arange(N) < N - 1),
        CellLineTable(tuple(f"l{i}" for i in range(LINES)), lines, np.arange(LINES) < LINES - 1),
        curves,
    )


@cache
def blocks(noise: float = 2.0) -> ScoredBlocks:
    """All blocks: additive effects, a product of hidden factors, and noise."""
    rng, at = np.random.default_rng(1), all_blocks(N, LINES)
    a, b = at.compounds.T
    main, factor, line = rng.normal(size=N), rng.normal(size=(N, 2)), rng.normal(size=LINES)
    truth = 3 * (main[a] + main[b]) + 3 * line[at.cell_line] + 4 * (factor[a] * factor[b]).sum(1)
    return ScoredBlocks(at, truth + rng.normal(size=len(at)) * noise, np.full(len(at), noise))


def training(n: int, bundle: Features | None = None) -> Training:
    """``n`` random blocks."""
    order = np.random.default_rng(2).permutation(len(blocks()))[:n]
    return Training(blocks().select(order), bundle or features())


def related(seed: int, n: int, lines: int, noise: float = 1.0) -> Training:
    """A whole screen of new compounds and lines under one law of classes and genes.

    Synergy is a symmetric table of compound classes, which the fingerprints show, times a factor
    of the line, which its features show.
    """
    law = np.random.default_rng(99)
    table = law.normal(size=(CLASSES, CLASSES))
    table, pattern = table + table.T, law.random((CLASSES, BITS)) < 0.4
    direction = law.normal(size=GENES) / np.sqrt(GENES)
    rng = np.random.default_rng(seed)
    kind = rng.integers(CLASSES, size=n)
    bits = (pattern[kind] ^ (rng.random((n, BITS)) < 0.05)).astype(np.uint8)
    genes, at = rng.normal(size=(lines, GENES)), all_blocks(n, lines)
    factor = 1 + 0.4 * (genes @ direction)
    truth = 5 * table[kind[at.compounds[:, 0]], kind[at.compounds[:, 1]]] * factor[at.cell_line]
    return Training(
        ScoredBlocks(at, truth + noise * rng.normal(size=len(at)), np.full(len(at), noise)),
        Features(
            CompoundTable(tuple(f"{seed}-c{i}" for i in range(n)), bits, np.ones(n, bool)),
            CellLineTable(tuple(f"{seed}-l{i}" for i in range(lines)), genes, np.ones(lines, bool)),
        ),
    )
