"""Simulation-based calibration of what groups share: mean, spreads and effects of plates.

Every truth is drawn from its prior, readings from the truths, and the whole model is fitted anew
(Talts et al. 2018, arXiv:1804.06788). So few experiments show a collapse, not a slight narrowness:
``python -m tests.models.dynamics.test_level_calibration 24`` prints more (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from models.dynamics.inference import Fit, Training, build
from models.dynamics.solver import Solver
from tests.models.dynamics.toys import (
    GROUP_SD,
    MEAN_SD,
    OWN_SD,
    Level,
    known_noise,
    level_series,
)

PLATES, WELLS, LOG_SD = 8, 4, 0.5
EXPERIMENTS, DRAWS = 6, 400
TRAINING = Training(steps=800, series=PLATES * WELLS, samples=8, rate=0.03, warm_up=20)


def one(seed: int) -> dict[str, float]:
    """Where each truth lies in its posterior, 0 to 1, of one experiment."""
    rng = np.random.default_rng(seed)
    mean, effects = rng.normal(0, MEAN_SD), rng.normal(size=PLATES)
    group, own = (sd * np.exp(LOG_SD * rng.normal()) for sd in (GROUP_SD, OWN_SD))
    index = np.arange(PLATES * WELLS) % PLATES
    levels = mean + group * effects[index] + own * rng.normal(size=len(index))
    series = level_series(levels, [f"p{i}" for i in index], seed + 1000)
    model = build(series, Level(log_sd=LOG_SD), known_noise(), Solver("exact"), seed)
    Fit(model, series, TRAINING, seed).run()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        noise = model.normal(DRAWS, model.hierarchy.shared_size, generator=generator)
        drawn = model.shared.inner(model.shared.sample(noise)).numpy()
    at = {name: drawn[:, i] for i, name in enumerate(model.shared.names)}
    spread = np.exp(at["level.plate.sd"])
    found = {
        "mean": (at["level"] < mean).mean(),
        "group spread": (spread < group).mean(),
        "own spread": (np.exp(at["level.sd"]) < own).mean(),
    }
    for i, effect in enumerate(effects):
        moved = spread * at[f"level.plate=p{i}"]
        found[f"plate {i}"] = (moved < group * effect).mean()
    return {name: float(value) for name, value in found.items()}


def several(count: int) -> dict[str, np.ndarray]:
    """Places of truths by kind over ``count`` experiments."""
    rows = [one(seed) for seed in range(count)]
    found = {name: np.array([row[name] for row in rows]) for name in list(rows[0])[:3]}
    plates = [[row[f"plate {i}"] for i in range(PLATES)] for row in rows]
    return {**found, "plate effects": np.array(plates)}


@pytest.mark.slow
def test_what_groups_share_is_calibrated() -> None:
    found = several(EXPERIMENTS)
    spreads = np.concatenate([found["group spread"], found["own spread"]])
    for places in (spreads, found["plate effects"]):
        inside = (places > 0.05) & (places < 0.95)
        # Effects of one experiment hang together through its mean: they count as two.
        error = np.sqrt(0.9 * 0.1 / (2 * EXPERIMENTS))
        assert abs(inside.mean() - 0.9) < 3 * error
        # The mean of uniform places is 1/2, its error that of 2 an experiment.
        assert abs(places.mean() - 0.5) < 3 * np.sqrt(1 / 12 / (2 * EXPERIMENTS))


def main() -> None:
    found = several(int(sys.argv[1]))
    for name, places in found.items():
        inside = ((places > 0.05) & (places < 0.95)).mean()
        half = ((places > 0.25) & (places < 0.75)).mean()
        deciles = np.histogram(places, bins=5, range=(0, 1))[0]
        print(
            f"{name:14s} 50 %: {half:.2f}  90 %: {inside:.2f}  mean {places.mean():.2f} {deciles}"
        )


if __name__ == "__main__":
    main()
