"""A small screen with every kind of input, for tests of the Gaussian process."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from models.pharmacology.single_agents import POSITIONS
from models.screen import Candidates, CellLineTable, CompoundTable, Wells
from models.synergy.gaussian_process.kernel import Kernel, Rows, Tables
from models.synergy.inputs import Features, ScoredBlocks, Training

N, LINES = 9, 5


def everything() -> Candidates:
    first, second = np.triu_indices(N, k=1)
    return Candidates.of(
        np.tile(first, LINES), np.tile(second, LINES), np.repeat(np.arange(LINES), len(first))
    )


@cache
def features() -> Features:
    rng = np.random.default_rng(0)
    bits = (rng.random((N, 40)) < 0.3).astype(np.uint8)
    targets = tuple((f"T{k % 3}",) if k % 4 else () for k in range(N))
    levels = rng.uniform(0.3, 1.0, (N, LINES, POSITIONS))
    departures = rng.normal(0.0, 0.03, (N, LINES, POSITIONS))
    return Features(
        CompoundTable(tuple(f"c{k}" for k in range(N)), bits, bits.any(axis=1), targets),
        CellLineTable(
            tuple(f"l{k}" for k in range(LINES)), rng.normal(size=(LINES, 3)), np.ones(LINES, bool)
        ),
        curves=rng.normal(size=(N, LINES, 3)),
        responses=np.concatenate([levels, departures], axis=-1),
    )


def tables(groups: np.ndarray | None = None) -> Tables:
    return Tables.of(features(), np.eye(N) if groups is None else groups, torch.device("cpu"))


def rows(candidates: Candidates) -> Rows:
    return Rows.of(candidates, LINES, torch.device("cpu"))


def kernel(seed: int = 0) -> Kernel:
    return Kernel(tables(), torch.Generator().manual_seed(seed)).requires_grad_(False)


def sound_wells(at: Candidates, score: np.ndarray) -> Wells:
    """One well a block, as far below the mean Bliss reference as its score says."""
    responses = features().responses
    assert responses is not None
    level = responses[..., :POSITIONS].mean(axis=-1)
    a, b = at.compounds.T
    bliss = level[a, at.cell_line] * level[b, at.cell_line]
    compounds = np.column_stack([at.compounds, np.full(len(at), -1)])
    doses = np.where(compounds >= 0, 1.0, 0.0)
    return Wells(at.cell_line, compounds, doses, bliss - score / 100)


def training(n: int = 120, seed: int = 0) -> Training:
    rng, at = np.random.default_rng(seed), everything()
    effect = 4 * rng.normal(size=(N, LINES))
    pair = 4 * rng.normal(size=(N, N))
    a, b = at.compounds.T
    score = effect[a, at.cell_line] + effect[b, at.cell_line] + pair[a, b]
    score = score + rng.normal(size=len(at))
    chosen = rng.permutation(len(at))[:n]
    blocks = ScoredBlocks(at, score, np.ones(len(at))).select(chosen)
    return Training(blocks, features(), sound_wells(blocks.candidates, blocks.score))
