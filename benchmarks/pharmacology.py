"""How long four-parameter fits, block summaries and interaction fits take.

    python -m benchmarks.pharmacology [--threads 1] [--reference bliss --reference loewe]

Curves are simulated; blocks are those of the O'Neil screen under ``NEXTROUND_DATA`` (default
``../shared/data``), and left out with a line that says so where it is not there. More threads do
not help on a machine that others use. Bars: 3,000 curves with intervals in 10 s, every block with
intervals in 60 s.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from benchmarks.machine import describe
from models.evaluation.oneil import load_oneil_layout
from models.objectives.scores import measure_blocks
from models.pharmacology.block_draws import BlockErrors
from models.pharmacology.block_summaries import summarise_blocks
from models.pharmacology.dose_pairs import DosePairs
from models.pharmacology.dose_response import CurveTable, fit_curves
from models.pharmacology.four_parameter import fit_hill
from models.pharmacology.hill_posterior import CurveData, curve_levels
from models.pharmacology.interaction_fits import fit_interactions
from models.pharmacology.references import REFERENCES
from models.screen import FloatArray, Screen

T = TypeVar("T")
DATA = Path(os.environ.get("NEXTROUND_DATA", "../shared/data")) / "oneil"
DRAWS, FITTED_BLOCKS = 1000, 1000


def timed(what: str, work: Callable[[], T]) -> T:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{what:<58}{wall:8.2f} s wall {cpu:8.2f} s processor")
    return result


def curves(n: int) -> None:
    """Eight doses over four decades, EC50 from below the lowest to far above the top dose."""
    rng = np.random.default_rng(0)
    truth = np.stack(
        [
            rng.normal(1.0, 0.05, n),
            rng.uniform(0.0, 0.8, n),
            rng.uniform(np.log(1e-3), np.log(30.0), n),
            rng.normal(0.2, 0.5, n),
        ],
        axis=-1,
    )
    dose = np.tile(10.0 ** np.linspace(-3.0, 1.0, 8), (n, 1))
    sd = np.full((n, 8), 0.04)
    data = CurveData(dose, curve_levels(truth, dose) + sd * rng.standard_normal((n, 8)), sd)
    found = timed(f"{n:,} four-parameter curves with intervals", lambda: fit_hill(data))
    inside = ((found.low <= truth) & (truth <= found.high)).mean(axis=0)
    print(
        f"  truth within 90 % intervals (E0, Emax, log C, log h): {listed(inside)}; "
        f"{100 * found.unconstrained.mean():.0f} % of curves leave something open"
    )


def blocks(references: list[str]) -> None:
    folder = load_oneil_layout(DATA)
    screen = folder.screen()
    n = len(folder.compound_names)
    table = timed(
        f"{len(folder.singles):,} single-agent wells, three-parameter curves",
        lambda: fit_curves(folder.singles, n, len(folder.cell_line_names)),
    )
    pairs = DosePairs.of(screen.wells.select(screen.wells.n_compounds == 2), table.noise, n)
    noise = measure_blocks(screen, "bliss_mean", table).noise
    errors = BlockErrors(noise.well_factor, noise.shared_sd)
    for name in references:
        summaries(pairs, table, name, errors)
    few = pairs.select(pairs.block < FITTED_BLOCKS)
    for model in ("braid", "musyc"):
        found = timed(
            f"{model}, {FITTED_BLOCKS:,} blocks",
            lambda model=model: fit_interactions(
                model, few, table, well_factor=noise.well_factor, shared_sd=noise.shared_sd
            ),
        )
        print(
            f"  settled {100 * found.settled.mean():.0f} %, constrained "
            + ", ".join(
                f"{name} {100 * share:.0f} %"
                for name, share in zip(found.names, found.constrained.mean(axis=0), strict=True)
            )
        )
    scores(screen, table)


def summaries(pairs: DosePairs, table: CurveTable, name: str, errors: BlockErrors) -> None:
    found = timed(
        f"{name}, {len(pairs.first):,} blocks, {DRAWS:,} draws, 4 summaries",
        lambda: summarise_blocks(pairs, table, name, errors, n=DRAWS, seed=1, delta=10.0),
    )
    for summary, one in found.estimates.items():
        middle, sd, share = np.nanmedian(one.median), np.nanmedian(one.sd), one.defined > 0.5
        print(
            f"  {summary:<11} median {middle:6.1f}, sd {sd:5.1f}, "
            f"defined {100 * share.mean():.0f} % of blocks"
        )


def scores(screen: Screen, table: CurveTable) -> None:
    for score in ("bliss_mean", "zip_mean", "loewe_mean", "inhibition_mean"):
        found = timed(
            f"score {score} with standard errors", lambda s=score: measure_blocks(screen, s, table)
        )
        print(f"  {len(found):,} blocks" + "".join(f"; {e.reason}" for e in found.excluded))


def listed(values: FloatArray) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--curves", type=int, default=3000)
    parser.add_argument("--reference", action="append", choices=list(REFERENCES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    print(f"{describe()}, {arguments.threads} threads, load {load:.1f} at the start")
    curves(arguments.curves)
    if not DATA.is_dir():
        print(f"no blocks: there is no screen in {DATA}")
        return
    blocks(arguments.reference or ["bliss", "hsa", "zip", "loewe"])


if __name__ == "__main__":
    main()
