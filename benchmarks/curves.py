"""How long curves and scores of the O'Neil screen take, and how good they are.

    python -m benchmarks.curves [--threads 1]

Reads ``NEXTROUND_DATA`` (default ``../shared/data``). Prints one line per measurement.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from models.evaluation.oneil import ScreenFolder, load_oneil_layout
from models.objectives.scores import measure_blocks
from models.objectives.treatments import excess_profile
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.hill import hill
from models.pharmacology.score_rules import SCORES
from models.pharmacology.simulate import simulate_screen

T = TypeVar("T")
DATA = Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "oneil"


def timed(what: str, work: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = work()
    print(f"{what:<44}{time.perf_counter() - start:8.3f} s")
    return result


def real_screen(folder: ScreenFolder) -> None:
    lines, names = len(folder.cell_line_names), len(folder.compound_names)
    curves = timed("fit 66,576 wells", lambda: fit_curves(folder.singles, names, lines))
    print(f"  {curves.noise}, misfit {curves.misfit_sd:.3f}")
    every, few = folder.screen(), folder.screen(np.arange(2000))
    for score in SCORES:
        work = partial(measure_blocks, every, score, curves)
        blocks = timed(f"{score}, {len(folder.blocks):,} blocks", work)
        print(f"  score {quantiles(blocks.score)}, error {quantiles(blocks.noise_sd)}")
        print(f"  {excess_profile(blocks)}")
    print(f"  {blocks.noise}")
    timed("bliss_mean, 2,000 blocks", lambda: measure_blocks(few, "bliss_mean", curves))


def coverage(replicates: int, noise_sd: float) -> None:
    """Share of true viabilities within the 90 % interval of their curve."""
    sim = simulate_screen(40, 20, 4, noise_sd, seed=0)
    curves: CurveTable = fit_curves(sim.single_agents(replicates, seed=1), 40, 20)
    grid = np.meshgrid(np.arange(40), np.arange(20), np.arange(4), indexing="ij")
    compound, line, rank = (table.ravel() for table in grid)
    dose = sim.doses_um[compound, rank]
    at = (compound, line)
    truth = hill(dose, sim.log_c[at], sim.log_h[at], sim.emax[at])
    draws = curves.curve_draws(compound, line, dose, 500, seed=2)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    inside = np.mean((low <= truth) & (truth <= high))
    print(
        f"simulated, {replicates} replicates, noise {noise_sd:.2f}: coverage of 90 % {inside:.3f}"
    )


def quantiles(values: np.ndarray) -> str:
    return " ".join(f"{v:.1f}" for v in np.quantile(values, [0.01, 0.5, 0.99]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    real_screen(timed("read the folder", lambda: load_oneil_layout(DATA)))
    for replicates in (1, 3, 6):
        coverage(replicates, 0.08)


if __name__ == "__main__":
    main()
