"""Small tables of cells whose shifts are known, and quick fits to them."""

from __future__ import annotations

import numpy as np

from models.perturbation.vae.cells import CellTable
from models.perturbation.vae.module import VaeSettings
from models.perturbation.vae.training import TrainingPlan

GENES = tuple(f"gene {i}" for i in range(8))
EFFECT = np.zeros((3, 8))
EFFECT[[0, 1, 2], [0, 1, 2]] = -1.5
EFFECT[[0, 1, 2], [3, 4, 5]] = 1.2
"""Log ratios of the first three genes' perturbations: each on itself and on one other."""


def counts(n: int = 240, seed: int = 0, pairs: bool = False) -> CellTable:
    """``n`` cells of controls and three perturbations (and their pairs), 8 genes, some failed."""
    rng = np.random.default_rng(seed)
    conditions = [np.zeros(3), *np.eye(3)]
    if pairs:
        conditions += [1 - row for row in np.eye(3)]
    doses = np.array(conditions)[rng.integers(len(conditions), size=n)]
    base = np.log(rng.dirichlet(np.full(8, 5.0)))
    raw = base + doses @ EFFECT + 0.3 * rng.standard_normal((n, 1)) * rng.standard_normal(8)
    share = np.exp(raw)
    library = rng.integers(200, 800, n)
    share /= share.sum(1, keepdims=True)
    values = np.array([rng.multinomial(n, p) for n, p in zip(library, share, strict=True)])
    return CellTable.of(
        perturbations=GENES[:3],
        doses=doses,
        readouts=GENES,
        values=values,
        observation="counts",
        low_quality=rng.random(n) < 0.15,
    )


def settings(**changes) -> VaeSettings:
    """A small model whose coordinates are the genes."""
    options = {"columns": GENES, "basal": 2, "hidden": 8, "own_readout": True, "mask_hidden": 4}
    return VaeSettings(**(options | changes))


def plan(epochs: int = 3, **changes) -> TrainingPlan:
    """A short training."""
    options = {"epochs": epochs, "batch_cells": 64, "rate": 5e-3}
    return TrainingPlan(**(options | changes))
