"""One small simulated screen that the tests of this folder share."""

from __future__ import annotations

import numpy as np

from models.objectives.scores import measure_blocks
from models.pharmacology.dose_response import fit_curves
from models.pharmacology.simulate import SimulatedScreen, simulate_screen
from models.screen import Candidates, Wells
from models.synergy.inputs import Features, Training
from models.synergy.training import Schedule

SHORT = Schedule(24, 12)
N_COMPOUNDS, N_LINES = 9, 4
UNSEEN = N_COMPOUNDS - 1
"""The last compound is in no well; the last cell line has single agents only."""


def truth() -> SimulatedScreen:
    return simulate_screen(N_COMPOUNDS, N_LINES, 3, 0.04, seed=3)


def every_pair(n_compounds: int = N_COMPOUNDS, n_lines: int = N_LINES) -> Candidates:
    first, second = np.triu_indices(n_compounds, 1)
    line = np.repeat(np.arange(n_lines), len(first))
    return Candidates.of(np.tile(first, n_lines), np.tile(second, n_lines), line)


def training(score: str = "bliss_mean", rows: np.ndarray | None = None) -> Training:
    """Three in four blocks of the seen part; ``rows`` reorders the wells."""
    sim = truth()
    pairs = every_pair()
    seen = (pairs.compounds < UNSEEN).all(axis=1) & (pairs.cell_line < N_LINES - 1)
    kept = pairs.select(seen).select(np.arange(int(seen.sum())) % 4 > 0)
    singles = sim.single_agents(1, seed=2, n_doses=5)
    singles = singles.select(singles.compounds[:, 0] != UNSEEN)
    wells = sim.screen(sim.measure(kept, 1, seed=1), singles, sim.controls(4, seed=3)).wells
    curves = fit_curves(wells, N_COMPOUNDS, N_LINES)
    screen = sim.screen(wells)
    blocks = measure_blocks(screen, score, curves)
    features = Features(screen.compounds, screen.cell_lines, curves.summary())
    given = wells if rows is None else wells.select(rows)
    return Training.of(blocks, features, given, score)


def padded(columns: list[list[float]], fill: float) -> np.ndarray:
    """Rows of up to three entries, padded."""
    return np.array([row + [fill] * (3 - len(row)) for row in columns])


def some_wells(wells: Wells, n: int) -> Wells:
    return wells.select(np.linspace(0, len(wells) - 1, n).astype(np.int64))
