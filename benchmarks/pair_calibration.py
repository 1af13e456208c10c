"""How often 90 % intervals of a drug pair's synergies hold the truth, on experiments drawn from
the model of growth and death itself.

    python -m benchmarks.pair_calibration [--experiments 20]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.machine import describe
from models.dynamics.hmc import Settings
from models.dynamics.pair_posterior import fit_pair
from models.dynamics.simulate_pair import ASKED, simulated

SETTINGS = Settings(chains=12, warm_up=45, draws=25)


def held(seed: int) -> np.ndarray:
    """``(4,)`` whether each synergy lies in its interval, of one simulated experiment."""
    series, truth = simulated(seed)
    rates = fit_pair(series, seed=seed, settings=SETTINGS).rates(ASKED)
    draws = np.concatenate([rates["cytostatic"], rates["cytotoxic"]], axis=1)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return (truth > low) & (truth < high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=20)
    options = parser.parse_args()
    print(describe())
    found, start = [], time.perf_counter()
    for seed in range(options.experiments):
        found.append(held(seed))
        done = len(found)
        left = (time.perf_counter() - start) / done * (options.experiments - done)
        total = np.concatenate(found)
        print(f"{done}: {int(total.sum())} of {len(total)} held, {left:.0f} s left", flush=True)


if __name__ == "__main__":
    main()
