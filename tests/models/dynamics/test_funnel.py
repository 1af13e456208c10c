"""What groups share, learned with its spreads, beside the exact posterior of a linear model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.dynamics.inference import Fit, Training, build
from models.dynamics.series import TimeCourses
from models.dynamics.solver import Solver
from tests.models.dynamics.toys import (
    GROUP_SD,
    MEAN_SD,
    NOISE_SD,
    OWN_SD,
    TIMES,
    Level,
    drawn_series,
    known_noise,
)

LOG_SD, PLATES = 0.5, 8


def exact_sd_of_the_group_spread(series: TimeCourses) -> float:
    """Of its standardised logarithm, over a grid of both spreads."""
    level = series.values[:, 0].mean(axis=1)
    same = series.factor("plate").index[:, None] == series.factor("plate").index
    noise = NOISE_SD**2 / len(TIMES) * np.eye(len(level))
    grid = np.linspace(-4, 4, 41)
    logs = np.empty((len(grid), len(grid)))
    for i, a in enumerate(grid):
        for j, b in enumerate(grid):
            group, own = GROUP_SD * np.exp(LOG_SD * a), OWN_SD * np.exp(LOG_SD * b)
            covariance = noise + MEAN_SD**2 + group**2 * same + own**2 * np.eye(len(level))
            fit = level @ np.linalg.solve(covariance, level) + np.linalg.slogdet(covariance)[1]
            logs[i, j] = -0.5 * (fit + a**2 + b**2)
    weight = np.exp(logs - logs.max()).sum(axis=1)
    weight /= weight.sum()
    return float(np.sqrt(weight @ grid**2 - (weight @ grid) ** 2))


@pytest.mark.slow
def test_the_spread_of_groups_is_as_uncertain_as_it_is() -> None:
    """One normal over log spread and effects has two thirds of this width."""
    series = drawn_series(32, PLATES, 0)
    training = Training(steps=600, series=32, samples=8, rate=0.03, warm_up=20)
    model = build(series, Level(log_sd=LOG_SD), known_noise(), Solver("exact"), 0)
    Fit(model, series, training, 0).run()
    noise = torch.randn(
        4000, model.hierarchy.shared_size, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        drawn = model.shared.sample(noise)[:, model.shared.names.index("level.plate.sd")]
    assert drawn.std().item() == pytest.approx(exact_sd_of_the_group_spread(series), rel=0.2)
