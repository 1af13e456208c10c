"""A small screen with known margins, a shift of one curve and an interaction of one pair."""

from __future__ import annotations

import numpy as np

from models.pharmacology.dose_response import CurveTable
from models.pharmacology.noise import NoiseModel
from models.screen import CellLineTable
from models.surfaces.blocks import Blocks, empty_blocks

N_COMPOUNDS, N_LINES = 6, 4
LINES = CellLineTable(
    tuple(f"line {k}" for k in range(N_LINES)), np.zeros((N_LINES, 0)), np.zeros(N_LINES, bool)
)


def curves() -> CurveTable:
    """Hill curves with ``C`` from 0.5 to 2 micromolar."""
    rng = np.random.default_rng(3)
    shape = (N_COMPOUNDS, N_LINES)
    return CurveTable(
        log_c=rng.uniform(-0.7, 0.7, shape),
        log_h=rng.normal(0.1, 0.1, shape),
        emax=rng.uniform(0.05, 0.5, shape),
        covariance=np.tile(0.01 * np.eye(3), (*shape, 1, 1)),
        measured=np.ones(shape, bool),
        log_dose_low=np.full(N_COMPOUNDS, np.log(0.1)),
        log_dose_high=np.full(N_COMPOUNDS, np.log(10.0)),
        noise=NoiseModel(0.03, 0.0, "known"),
        misfit_sd=0.0,
    )


def blocks(shape: tuple[int, int] = (4, 4), noise: float = 0.02, seed: int = 0) -> Blocks:
    """Every pair in every line. The curve of compound 0 in line 0 is 0.15 too high; the pair (1, 2)
    is 0.2 lower than Bliss in the middle."""
    pairs = [(a, b) for a in range(N_COMPOUNDS) for b in range(a + 1, N_COMPOUNDS)]
    compounds = np.array([pair for pair in pairs for _ in range(N_LINES)])
    line = np.tile(np.arange(N_LINES), len(pairs))
    doses = tuple(
        np.tile(np.geomspace(0.1, 10.0, side), (len(line), 1))
        if side > 1
        else np.ones((len(line), 1))
        for side in shape
    )
    empty = empty_blocks(compounds, line, (doses[0], doses[1]), curves())
    truth = empty.reference.copy()
    wrong = (compounds[:, 0] == 0) & (line == 0)
    truth[wrong] -= 0.15 * empty.margins[1][wrong][:, None, :]
    acting = (compounds[:, 0] == 1) & (compounds[:, 1] == 2)
    truth[acting] -= 0.2 * np.sin(np.linspace(0, np.pi, shape[0]))[:, None]
    rng = np.random.default_rng(seed)
    measured = truth + noise * rng.standard_normal(truth.shape)
    return Blocks(
        empty.compounds, empty.cell_line, empty.doses, empty.margins, measured,
        np.ones(truth.shape, np.int64),
    )  # fmt: skip
