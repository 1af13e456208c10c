"""Simulated blocks whose hits follow from what a scorecard may know, or from nothing."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from models.screen import BoolArray, FloatArray
from models.triage.features import NUMBERS, BlockTable

TARGETS, MECHANISMS = 25, 8


def simulate(
    n: int, n_compounds: int = 40, n_lines: int = 12, seed: int = 0, *, signal: float = 1.0
) -> tuple[BlockTable, BoolArray, FloatArray]:
    """Blocks, whether each is a hit, and the true log-odds, ``(n,)`` each."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, TARGETS, n_compounds)
    a, b = np.triu_indices(n_compounds, 1)
    chosen = rng.permutation(len(a) * n_lines)[:n]
    pair = np.stack([a, b], 1)[chosen // n_lines].astype(np.int64)
    line = (chosen % n_lines).astype(np.int64)
    own = 0.7 * rng.standard_normal(n_compounds)
    together = 0.6 * rng.standard_normal((TARGETS, TARGETS))
    together = together + together.T
    numbers = {name: rng.standard_normal(n) for name in NUMBERS}
    logits = -3.0 + signal * (
        own[pair].sum(1)
        + together[target[pair[:, 0]], target[pair[:, 1]]]
        + 0.5 * rng.standard_normal(n_lines)[line]
        + 0.6 * numbers["more_active"]
        - 0.3 * numbers["less_active"] ** 2
    )
    hit = rng.random(n) < expit(logits)
    labels = target[pair].astype(np.int64)
    table = BlockTable(
        pair, line, labels, labels % MECHANISMS, numbers, n_compounds, n_lines, TARGETS, MECHANISMS
    )
    return table, hit, logits
