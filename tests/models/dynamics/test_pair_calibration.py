"""Intervals of synergy hold the truth as often as they say: experiments drawn from the model."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pair_calibration import held

EXPERIMENTS = 5
"""Twenty are ``python -m benchmarks.pair_calibration``."""


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_intervals_of_synergy_hold_the_truth() -> None:
    inside = np.concatenate([held(seed) for seed in range(EXPERIMENTS)])
    # Two doses of one rate are nearly one: the error is that of two intervals an experiment.
    error = np.sqrt(0.9 * 0.1 / (2 * EXPERIMENTS))
    assert abs(np.mean(inside) - 0.9) < 2 * error
