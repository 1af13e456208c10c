"""The baselines: densities that integrate, fits that find what made the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from models.screen import ScreenError
from models.surfaces.blocks import Blocks, join_blocks
from models.surfaces.sampler.references import AroundBliss, LinearCloud
from tests.models.surfaces.sampler.small import blocks, some_missing


def around_bliss(n: int, seed: int, sd: float = 0.05, df: float = 5.0) -> Blocks:
    table = blocks(n, seed=seed)
    z = np.random.default_rng(seed).standard_t(df, table.viability.shape)
    return replace(table, viability=table.reference + sd * z)


def test_noise_around_bliss_is_found() -> None:
    found = AroundBliss.fit(around_bliss(600, 0))
    assert found.scale(blocks(50)).mean() == pytest.approx(0.05, rel=0.08)
    assert found.df == pytest.approx(5.0, rel=0.35)


def test_the_density_is_a_sum_over_measured_wells_and_invariant() -> None:
    table = some_missing(blocks(20))
    model = AroundBliss(0.05, 0.02, 6.0)
    found = model.log_density(table)
    np.testing.assert_allclose(found, model.log_density(table.swapped()), rtol=1e-12)
    seen = table.measured[3]
    scale = model.scale(table)[3][seen]
    z = (table.viability - table.reference)[3][seen] / scale
    expected = (scipy.stats.t.logpdf(z, 6.0) - np.log(scale)).sum()
    assert found[3] == pytest.approx(expected)


def test_a_cloud_is_the_density_that_scipy_says_and_of_the_right_size() -> None:
    table = around_bliss(900, 1, df=1e6)
    model = LinearCloud.fit(table)
    assert model.df == 30.0
    some = table.select(np.arange(5))
    found = model.log_density(some)
    assert found.mean() == pytest.approx(
        9 * (-np.log(0.05) - 0.5 * np.log(2 * np.pi * np.e)), rel=0.1
    )
    read = model.readings(some, 4000, 0)
    assert read.std(axis=0).mean() == pytest.approx(0.05, rel=0.1)


def test_trained_on_both_orders_a_cloud_is_symmetric_and_on_one_it_is_not() -> None:
    table, fresh = blocks(300), blocks(20, seed=9)
    both = LinearCloud.fit(join_blocks([table, table.swapped()]))
    np.testing.assert_allclose(
        both.log_density(fresh), both.log_density(fresh.swapped()), rtol=1e-5
    )
    one = LinearCloud.fit(table)
    gap = one.log_density(fresh) - one.log_density(fresh.swapped())
    assert np.abs(gap).max() > 0.05


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ScreenError, match="complete"):
        LinearCloud.fit(some_missing(blocks(100)))
    with pytest.raises(ScreenError, match="too few"):
        LinearCloud.fit(blocks(10))
    with pytest.raises(ScreenError, match="asked about"):
        LinearCloud.fit(blocks(100)).log_density(blocks(5, m=2))
