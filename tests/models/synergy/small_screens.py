"""Tiny scored screens whose truth is linear, for tests of what surrounds models."""

from __future__ import annotations

import numpy as np

from models.screen import Candidates, CellLineTable, CompoundTable
from models.synergy.inputs import Features, ScoredBlocks, Training

COMPOUNDS, LINES = 10, 4


def all_blocks() -> Candidates:
    first, second = np.triu_indices(COMPOUNDS, k=1)
    return Candidates.of(
        np.tile(first, LINES), np.tile(second, LINES), np.repeat(np.arange(LINES), len(first))
    )


def linear_training(
    n: int = 180, noise: float = 2.0, seed: int = 0, extra: float = 0.0
) -> Training:
    """Main effects of sd 5 and noise; ``extra``: real scatter of which the errors say nothing."""
    rng, at = np.random.default_rng(seed), all_blocks()
    effects, lines = 5 * rng.normal(size=COMPOUNDS), 5 * rng.normal(size=LINES)
    score = effects[at.compounds].sum(axis=1) + lines[at.cell_line]
    score += np.hypot(noise, extra) * rng.normal(size=len(at))
    blocks = ScoredBlocks(at, score, np.full(len(at), noise))
    features = Features(
        CompoundTable(
            tuple(f"c{k}" for k in range(COMPOUNDS)),
            np.zeros((COMPOUNDS, 8), np.uint8),
            np.zeros(COMPOUNDS, bool),
        ),
        CellLineTable(
            tuple(f"l{k}" for k in range(LINES)), np.zeros((LINES, 0)), np.zeros(LINES, bool)
        ),
    )
    return Training(blocks.select(rng.permutation(len(at))[:n]), features)
