"""Small simulated blocks that the tests of this folder share: a swap-symmetric law of residuals."""

from __future__ import annotations

from functools import cache

import numpy as np

from models.pharmacology.noise import NoiseModel
from models.surfaces.blocks import Blocks
from models.surfaces.sampler.fitting import Options, fit_sampler
from models.surfaces.sampler.posterior import SurfaceSampler

NOISE = NoiseModel(0.03, 0.03, "replicate wells")
SMALL = Options(steps=150, rows=64, rate=1e-2, latent=2, hidden=12)
N_COMPOUNDS = 30


def blocks(n: int = 120, m: int = 3, seed: int = 0, columns: int = 0) -> Blocks:
    """Bliss times one random depth for each block, with noise; rows in any order of compounds."""
    rng = np.random.default_rng(seed)
    columns = columns or m
    shape = (n, m, columns)
    compounds = np.array([rng.permutation(N_COMPOUNDS)[:2] for _ in range(n)])
    sides = tuple(
        np.sort(rng.uniform(0.3, 1.0, (n, width)), axis=1)[:, ::-1] for width in (m, columns)
    )
    doses = tuple(
        np.tile(np.logspace(-1, 1, width), (n, 1)) if width > 1 else np.ones((n, 1))
        for width in (m, columns)
    )
    truth = sides[0][:, :, None] * sides[1][:, None, :]
    truth = truth * np.exp(-rng.exponential(0.4, n))[:, None, None]
    read = truth + NOISE.sd(truth) * rng.standard_normal(shape)
    return Blocks(
        compounds,
        rng.integers(0, 5, n),
        (doses[0], doses[1]),
        (sides[0].copy(), sides[1].copy()),
        read,
        np.ones(shape, np.int64),
    )


@cache
def fitted() -> SurfaceSampler:
    return fit_sampler([blocks()], NOISE, seed=1, options=SMALL)


def some_missing(table: Blocks, share: float = 0.5, seed: int = 3) -> Blocks:
    """The first well stays."""
    keep = np.random.default_rng(seed).random(table.viability.shape) > share
    keep[:, 0, 0] = True
    return table.seen_only(keep)
