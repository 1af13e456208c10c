"""Counts of hits against the exact recursion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from models.acquisition import hit_counts
from models.acquisition.functions import AcquisitionError
from models.acquisition.hit_calibration import HitCalibration
from models.acquisition.hit_counts import (
    HitCounter,
    HitForecast,
    count_hits,
    hit_chances,
    next_plates,
)
from models.bayes.predictive import Noise
from models.screen import FloatArray


def exact(chances: FloatArray) -> FloatArray:
    """Mixture over worlds of Poisson-binomial counts, one candidate at a time."""
    n, m = chances.shape
    found = np.zeros((n, m + 1))
    found[:, 0] = 1.0
    for p in chances.T:
        found[:, 1:] = found[:, 1:] * (1 - p[:, None]) + found[:, :-1] * p[:, None]
        found[:, 0] *= 1 - p
    return found.mean(axis=0)


def pool(m: int, level: float, n: int = 20, seed: int = 0) -> tuple[FloatArray, Noise]:
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 3)) @ rng.normal(size=(3, m))
    return level + 3.0 * shared + rng.normal(size=(n, m)), Noise(1.0 + rng.random(m), 4.0)


@pytest.mark.parametrize(("m", "level"), [(1, 10.0), (12, 9.0), (300, 2.0), (2000, -9.0)])
def test_distribution_is_the_mixture_of_counts(m: int, level: float) -> None:
    draws, noise = pool(m, level)
    forecast = count_hits(draws, 10.0, noise)
    chances = hit_chances(draws, 10.0, noise)
    wanted = exact(chances)[: len(forecast.probability)]
    assert forecast.probability.sum() == pytest.approx(1.0)
    assert forecast.probability == pytest.approx(wanted, abs=2e-6)
    assert forecast.expected == pytest.approx(chances.mean(axis=0).sum(), rel=1e-6, abs=1e-6)


def test_without_noise_a_world_is_a_count() -> None:
    draws = np.array([[1.0, 3.0, 0.0], [5.0, 3.0, 4.0], [0.0, 0.0, 3.0], [0.0, 1.0, 3.0]])
    forecast = count_hits(draws, 2.0)
    assert forecast.probability[:4] == pytest.approx([0.0, 0.75, 0.0, 0.25], abs=1e-12)
    counter = HitCounter(4)
    counter.meet(draws, 2.0, Noise(np.ones(3)))
    assert counter.true().probability == pytest.approx([0.0, 0.75, 0.0, 0.25], abs=1e-12)
    assert counter.true().interval == (1, 3)


def test_blocks_may_come_in_any_split() -> None:
    draws, noise = pool(100, 5.0)
    counter = HitCounter(len(draws))
    parts = np.array_split(np.random.default_rng(1).permutation(100), 7)
    chance = np.empty(100)
    for part in parts:
        chance[part] = counter.meet(draws[:, part], 10.0, noise.select(part))
    whole = count_hits(draws, 10.0, noise)
    assert counter.measured().probability == pytest.approx(whole.probability, abs=1e-12)
    assert chance == pytest.approx(hit_chances(draws, 10.0, noise).mean(axis=0))


def test_many_hits_are_counted_by_normals(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, noise = pool(2000, 9.0)
    whole = count_hits(draws, 10.0, noise)
    monkeypatch.setattr(hit_counts, "MOST_EXACT", 0)
    rough = count_hits(draws, 10.0, noise)
    assert rough.expected == pytest.approx(whole.expected, rel=1e-3)
    assert rough.interval == pytest.approx(whole.interval, abs=3)


def test_what_candidates_share_widens_the_interval() -> None:
    rng = np.random.default_rng(3)
    shared = np.repeat(rng.normal(size=(400, 1)), 200, axis=1)
    alone = rng.normal(size=(400, 200))
    wide, narrow = (count_hits(draws, 1.0) for draws in (shared, alone))
    assert wide.expected == pytest.approx(200 * norm.sf(1.0), abs=200 * 4 * 0.37 / 400**0.5)
    assert wide.interval == (0, 200)
    low, high = narrow.interval
    assert 15 < low < 200 * norm.sf(1.0) < high < 50


def test_intervals_cover_as_they_say() -> None:
    """The truth is one more world of the same law; 90 % intervals of counts hold at least 90 %."""
    inside = []
    for seed in range(120):
        draws, noise = pool(80, 4.0, n=101, seed=seed)
        low, high = count_hits(draws[:-1], 10.0, noise).interval
        chance = hit_chances(draws[[-1, -1]], 10.0, noise)[0]
        hits = (np.random.default_rng([seed, 1]).random(80) < chance).sum()
        inside.append(low <= hits <= high)
    # Standard error 0.027 around 0.9 or a little more: counts are whole numbers.
    assert 0.82 < np.mean(inside) <= 0.99


def test_a_calibration_moves_counts_and_widens_them() -> None:
    draws, noise = pool(400, 0.0, n=300)
    rng = np.random.default_rng(1)
    chance = rng.random(4000) ** 3
    hit = rng.random(4000) < chance / 3
    few, many = (HitCalibration.of(chance[:k], hit[:k]) for k in (40, 4000))
    plain = count_hits(draws, 10.0, noise)
    mended = count_hits(draws, 10.0, noise, calibration=many)
    mean = hit_chances(draws, 10.0, noise).mean(axis=0)
    wanted = many.worlds(mean, 300).mean(axis=0)
    # Worlds and calibrations are paired by chance: about 1 % with 300 of them.
    assert mended.expected == pytest.approx(wanted.sum(), rel=0.05)
    assert mended.expected < 0.7 * plain.expected
    counter = HitCounter(300, calibration=many)
    for part in np.array_split(np.arange(400), 3):
        told = counter.meet(draws[:, part], 10.0, noise.select(part))
        assert told == pytest.approx(many.apply(mean[part]))
    assert counter.measured().probability == pytest.approx(mended.probability, abs=1e-12)
    assert counter.true().expected < 0.7 * count_hits(draws, 10.0).expected

    def spread(forecast: HitForecast) -> float:
        low, high = forecast.interval
        return (high - low) / forecast.expected

    assert spread(count_hits(draws, 10.0, noise, calibration=few)) > 1.1 * spread(mended)


def test_next_plates_take_the_likeliest_first() -> None:
    draws, noise = pool(50, 5.0)
    chance = hit_chances(draws, 10.0, noise).mean(axis=0)
    plates = next_plates(draws, 10.0, noise, 20, 3)
    order = np.argsort(-chance, kind="stable")
    assert [len(rows) for rows, _ in plates] == [20, 20, 10]
    assert np.concatenate([rows for rows, _ in plates]).tolist() == order.tolist()
    expected = [forecast.expected for _, forecast in plates]
    assert expected == pytest.approx([chance[rows].sum() for rows, _ in plates], rel=1e-6)
    assert expected == sorted(expected, reverse=True)


def test_forecast_in_words_and_numbers() -> None:
    forecast = HitForecast(np.array([0.04, 0.5, 0.4, 0.06]))
    assert forecast.expected == pytest.approx(1.48)
    assert forecast.interval == (1, 3)
    assert forecast.probability_at_most(1.999) == pytest.approx(0.54)
    assert forecast.probability_at_most(-1) == 0.0
    assert forecast.describe() == "1.5 (90 % interval 1 to 3)"
    assert forecast.as_dict() == {
        "expected": pytest.approx(1.48),
        "low": 1,
        "high": 3,
        "level": 0.9,
    }


def test_broken_draws_are_refused() -> None:
    good = np.zeros((3, 2))
    with pytest.raises(AcquisitionError, match="need 2"):
        count_hits(good[:1], 0.0)
    with pytest.raises(AcquisitionError, match="NaN"):
        count_hits(np.full((3, 2), np.nan), 0.0)
    with pytest.raises(AcquisitionError, match="threshold"):
        count_hits(good, np.inf)
    with pytest.raises(AcquisitionError, match="level"):
        HitCounter(3, 1.0)
    with pytest.raises(AcquisitionError, match="other candidates have 4"):
        HitCounter(4).meet(good, 0.0, None)
    with pytest.raises(AcquisitionError, match="at least one plate"):
        next_plates(good, 0.0, None, 0)
