"""The bend of the output: its shape, its prior, and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.synergy.warp import BEND_START, LIMIT, Warp


def bent(log_bend: float, skew: float) -> Warp:
    warp = Warp().double()
    with torch.no_grad():
        warp.log_bend.fill_(log_bend)
        warp.skew.fill_(skew)
    return warp.requires_grad_(False)


@given(st.floats(-5, 1), st.floats(-3, 3))
def test_it_increases_through_the_origin_with_slope_one(log_bend: float, skew: float) -> None:
    warp = bent(log_bend, skew)
    at = torch.linspace(-30, 30, 2001, dtype=torch.float64)
    assert torch.all(torch.diff(warp(at)) > 0)
    step = torch.tensor([-1e-5, 0.0, 1e-5], dtype=torch.float64)
    low, middle, high = warp(step).tolist()
    assert middle == pytest.approx(0.0, abs=1e-12)
    assert (high - low) / 2e-5 == pytest.approx(1.0, rel=1e-6)


def test_values_against_the_formula_and_its_limits() -> None:
    at = torch.tensor([-2.0, 0.5, 3.0], dtype=torch.float64)
    expected = (np.sinh(0.8 * at.numpy() + 0.6) - np.sinh(0.6)) / (0.8 * np.cosh(0.6))
    assert bent(math.log(0.8), 0.6)(at).numpy() == pytest.approx(expected)
    assert bent(-9.0, 0.0)(at).numpy() == pytest.approx(at.numpy(), rel=1e-6)
    huge = bent(0.0, 0.0)(torch.tensor([1e3], dtype=torch.float64))
    line = math.sinh(LIMIT) + math.cosh(LIMIT) * (1e3 - LIMIT)
    assert huge.item() == pytest.approx(line)


def test_the_penalty_is_minus_the_log_prior() -> None:
    assert Warp().penalty().item() == pytest.approx(0.0, abs=1e-12)
    far = bent(math.log(BEND_START) + 0.7, -2.0)
    assert far.penalty().item() == pytest.approx(0.5 + 2.0)


def test_gaussians_become_skewed_and_heavy_tailed() -> None:
    normal = torch.randn(20000, generator=torch.Generator().manual_seed(0)).double()
    standard = (warped := bent(0.0, 1.0)(normal)) - warped.mean()
    skewness = (standard**3).mean() / standard.std() ** 3
    assert skewness.item() > 1.5
