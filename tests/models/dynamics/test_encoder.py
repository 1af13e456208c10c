"""Features of irregular and gappy series, and the encoder's posteriors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.dynamics.encoder import LARGEST_WAY, WIDEST, Encoder, SeriesFeatures
from models.dynamics.series import TimeCourses
from models.screen import ScreenError


def courses(times: np.ndarray, gaps: float = 0.0, seed: int = 0, n: int = 30) -> TimeCourses:
    rng = np.random.default_rng(seed)
    rate = np.linspace(0.5, 1.5, n)[:, None, None]
    channels = np.array([1.0, 100.0])[None, :, None]
    values = channels * (1 - np.exp(-rate * times[None, None]))
    values[:, :, 1:][rng.uniform(size=values[:, :, 1:].shape) < gaps] = np.nan
    names = tuple(f"s{i}" for i in range(n))
    return TimeCourses(times, values, ("a", "b"), names, np.zeros((n, 0)))


def test_denser_readings_of_the_same_curve_give_nearly_the_same_features() -> None:
    features = SeriesFeatures.learn(courses(np.linspace(0, 8, 81)))
    coarse = features.of(courses(np.linspace(0, 8, 81)))
    dense = features.of(courses(np.linspace(0, 8, 161)))
    moved = np.abs(dense - coarse)[:, :96]
    # The first bin has half the readings of the others on its own side.
    assert moved[:, :48].max() < 0.6
    assert moved.mean() < 0.05
    assert coarse[:, :96].std() == pytest.approx(1.0, abs=0.1)


def test_gaps_move_values_little_and_counts_much() -> None:
    times = np.linspace(0, 8, 81)
    features = SeriesFeatures.learn(courses(times, 0.2))
    some, more = features.of(courses(times, 0.2, 1)), features.of(courses(times, 0.6, 2))
    values, counts = slice(0, 48), slice(96, 144)
    assert np.abs(some - more)[:, values].mean() < 0.3
    assert (some - more)[:, counts].mean() > 2


def test_features_do_not_depend_on_the_unit() -> None:
    table = courses(np.linspace(0, 8, 81))
    found = SeriesFeatures.learn(table).of(table)
    half = found[:, :48].reshape(30, 2, 24)
    np.testing.assert_allclose(half[:, 0], half[:, 1], atol=1e-6)


def test_features_survive_as_tensors() -> None:
    table = courses(np.linspace(0, 8, 81), 0.2)
    features = SeriesFeatures.learn(table)
    again = SeriesFeatures.from_tensors(features.tensors())
    np.testing.assert_array_equal(features.of(table), again.of(table))


def test_a_channel_without_readings_is_refused() -> None:
    table = courses(np.linspace(0, 8, 9))
    table.values[:, 1] = np.nan
    with pytest.raises(ScreenError, match="'b' has no reading"):
        SeriesFeatures.learn(table)


def test_no_series_however_odd_gets_a_posterior_out_of_bounds() -> None:
    encoder = Encoder(10, 5, torch.Generator().manual_seed(0))
    local = encoder(1e6 * torch.ones(3, 10))
    assert torch.isfinite(local.mean).all()
    assert (local.mean.abs() < 5).all()
    assert (local.sd <= WIDEST).all()
    assert (local.ways.abs() <= LARGEST_WAY).all()
    same = Encoder(10, 5, torch.Generator().manual_seed(0))
    assert torch.equal(same(torch.ones(1, 10)).mean, encoder(torch.ones(1, 10)).mean)
