"""Screens whose interactions come from hidden factors of compounds, and modules that see them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.screen import Candidates, CellLineTable, CompoundTable, FloatArray
from models.synergy.inputs import Features, ScoredBlocks, Training
from models.synergy.modules import Module

N, LINES, FACTORS = 14, 3, 2


def every_block() -> Candidates:
    """All pairs in all lines."""
    first, second = np.triu_indices(N, k=1)
    return Candidates.of(
        np.tile(first, LINES), np.tile(second, LINES), np.repeat(np.arange(LINES), len(first))
    )


def hidden(seed: int) -> FloatArray:
    """``(n, factors)`` what drives the interactions."""
    return np.random.default_rng([seed, 0]).normal(size=(N, FACTORS))


def bare_features(seed: int = 0) -> Features:
    """Structures that say nothing, and nothing else."""
    rng = np.random.default_rng([seed, 1])
    bits = (rng.random((N, 30)) < 0.3).astype(np.uint8)
    bits[:, 0] = 1
    compounds = CompoundTable(tuple(f"c{k}" for k in range(N)), bits, np.ones(N, bool))
    lines = CellLineTable(
        tuple(f"l{k}" for k in range(LINES)), np.zeros((LINES, 0)), np.zeros(LINES, bool)
    )
    return Features(compounds, lines)


def whole_screen(seed: int, noise: float = 2.0) -> ScoredBlocks:
    """Every block: main effects, a product of the hidden factors, and noise."""
    rng, at, factor = np.random.default_rng([seed, 2]), every_block(), hidden(seed)
    a, b = at.compounds.T
    main = rng.normal(size=N)
    strength = rng.uniform(0.6, 1.4, LINES)[at.cell_line]
    truth = 2 * (main[a] + main[b]) + 4 * strength * (factor[a] * factor[b]).sum(axis=1)
    score = truth + rng.normal(size=len(at)) * noise
    return ScoredBlocks(at, score, np.full(len(at), noise))


def module(seed: int, *, noise: float = 0.3, skill: float = 1.0, name: str = "proteins") -> Module:
    """Noisy factors of all compounds but the last, and noisy interactions of some pairs."""
    rng, factor = np.random.default_rng([seed, 3]), hidden(seed)
    compounds = factor + noise * rng.normal(size=factor.shape)
    compounds[-1] = np.nan
    pairs = np.full((N, N, 1), np.nan)
    for a, b in zip(*np.triu_indices(6, k=1), strict=True):
        pairs[a, b] = pairs[b, a] = factor[a] @ factor[b] + noise * rng.normal()
    return Module(name, compounds, pairs, skill)


def noise_module(seed: int, *, skill: float = 1.0, name: str = "dice") -> Module:
    """Numbers that have nothing to do with the screen."""
    rng = np.random.default_rng([seed, 4])
    pairs = rng.normal(size=(N, N, 2))
    return Module(name, rng.normal(size=(N, 4)), pairs + pairs.swapaxes(0, 1), skill)


def training(seed: int, n: int, *modules: Module) -> Training:
    """``n`` random blocks of a screen."""
    whole = whole_screen(seed)
    order = np.random.default_rng([seed, 5]).permutation(len(whole))[:n]
    features = replace(bare_features(seed), modules=modules)
    return Training(whole.select(np.sort(order)), features)


def held_out(seed: int, n: int) -> ScoredBlocks:
    """All blocks that :func:`training` leaves."""
    whole = whole_screen(seed)
    order = np.random.default_rng([seed, 5]).permutation(len(whole))[n:]
    return whole.select(np.sort(order))
