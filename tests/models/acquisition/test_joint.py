"""Sets are worth what their formulas say; greedy keeps its promise; nothing is chosen twice."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from models.acquisition.draws import AcquisitionError
from models.acquisition.joint import KINDS, greedy_batch, set_function
from models.bayes.predictive import Noise, standard_cdf

WEIGHTS = {"expected_hits": 0.7, "information": 0.3}
ASKED = {"threshold": 0.5, "incumbent": 0.8, "weights": WEIGHTS}


def worlds(n: int = 40, m: int = 9, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) @ rng.normal(size=(3, m)) + 0.3 * rng.normal(size=(n, m))


def noise_of(m: int) -> Noise:
    return Noise(np.linspace(0.3, 0.9, m), 5.0)


def worth(draws: np.ndarray, noise: Noise, kind: str, rows: tuple[int, ...]) -> float:
    """The set function by its formula, from nothing."""
    at = list(rows)
    if not at:
        return 0.0
    chance = standard_cdf((draws[:, at] - 0.5) / noise.scale[at], noise.df)
    if kind == "expected_hits":
        return float(chance.mean(axis=0).sum())
    if kind == "hit_coverage":
        return float(1 - (1 - chance).prod(axis=1).mean())
    if kind == "expected_best":
        return float(np.maximum(draws[:, at].max(axis=1), 0.8).mean() - 0.8)
    if kind == "information":
        covariance = np.atleast_2d(np.cov(draws[:, at].T))
        scale = 1 / noise.sd()[at]
        inner = np.eye(len(at)) + scale[:, None] * covariance * scale
        return float(0.5 * np.linalg.slogdet(inner)[1])
    largest = {
        part: max(worth(draws, noise, part, (j,)) for j in range(draws.shape[1]))
        for part in WEIGHTS
    }
    return sum(w * worth(draws, noise, part, rows) / largest[part] for part, w in WEIGHTS.items())


@pytest.mark.parametrize("kind", KINDS)
def test_running_sums_are_the_formula(kind: str) -> None:
    draws, noise = worlds(), noise_of(9)
    batch = greedy_batch(draws, noise, kind, 5, **ASKED)
    sums = [worth(draws, noise, kind, tuple(batch.rows[:k].tolist())) for k in range(6)]
    assert np.diff(sums) == pytest.approx(batch.gains, abs=1e-10)
    assert batch.value == pytest.approx(sums[-1], abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_keeps_its_promise(kind: str) -> None:
    for seed in range(3):
        draws, noise = worlds(seed=seed), noise_of(9)
        batch = greedy_batch(draws, noise, kind, 3, **ASKED)
        best = max(worth(draws, noise, kind, rows) for rows in combinations(range(9), 3))
        share = 1.0 if kind == "expected_hits" else 1 - 1 / math.e
        assert best + 1e-12 >= batch.value >= share * best - 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_returns_fall(kind: str) -> None:
    draws, noise = worlds(), noise_of(9)
    function = set_function(draws, noise, kind, **ASKED)
    every = np.arange(9)
    before = function.gains(every)
    for column in (3, 7, 1):
        function.add(column)
        after = function.gains(every)
        assert np.all(after <= before + 1e-12)
        assert np.all(after >= -1e-12)
        before = after


@pytest.mark.parametrize("kind", KINDS)
def test_pending_rows_are_conditioned_on_and_never_chosen(kind: str) -> None:
    draws, noise = worlds(), noise_of(9)
    pending = np.array([4, 2])
    batch = greedy_batch(draws, noise, kind, 9, pending=pending, **ASKED)
    assert sorted(batch.rows.tolist()) == [0, 1, 3, 5, 6, 7, 8]
    whole = worth(draws, noise, kind, (2, 4, int(batch.rows[0])))
    assert batch.gains[0] == pytest.approx(whole - worth(draws, noise, kind, (2, 4)), abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_candidates_does_not_matter(kind: str) -> None:
    draws, noise = worlds(m=30), noise_of(30)
    order = np.random.default_rng(1).permutation(30)
    one = greedy_batch(draws, noise, kind, 8, **ASKED)
    other = greedy_batch(draws[:, order], noise.select(order), kind, 8, **ASKED)
    assert order[other.rows].tolist() == one.rows.tolist()
    assert other.gains == pytest.approx(one.gains, abs=1e-10)


def test_twins_are_not_both_chosen_before_something_new() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(1.0, 1.0, 200), rng.normal(0.9, 1.0, 200)
    draws = np.stack([first, first, second], axis=1)
    noise = Noise(np.full(3, 0.2))
    for kind in ("hit_coverage", "expected_best", "information"):
        batch = greedy_batch(draws, noise, kind, 2, threshold=1.0, incumbent=1.0)
        assert set(batch.rows.tolist()) != {0, 1}, kind
    modular = greedy_batch(draws, noise, "expected_hits", 2, threshold=1.0)
    assert modular.rows.tolist() == [0, 1]


def test_lazy_greedy_is_greedy_in_large_pools() -> None:
    draws, noise = worlds(30, 1500, 4), noise_of(1500)
    for kind in ("expected_best", "hit_coverage", "information"):
        batch = greedy_batch(draws, noise, kind, 12, **ASKED)
        function = set_function(draws, noise, kind, **ASKED)
        free = np.ones(1500, dtype=bool)
        for row in batch.rows:
            gains = np.where(free, function.gains(np.arange(1500)), -1.0)
            assert gains[row] == pytest.approx(gains.max(), abs=1e-12)
            free[row] = False
            function.add(int(row))


def test_rules_are_asked_before_each_choice() -> None:
    draws, noise = worlds(), noise_of(9)
    group = np.arange(9) // 3

    def one_of_each_group(chosen: np.ndarray) -> np.ndarray:
        return ~np.isin(group, group[chosen])

    batch = greedy_batch(draws, noise, "information", 9, feasible=one_of_each_group)
    assert sorted(group[batch.rows].tolist()) == [0, 1, 2]
    assert "p caps" in batch.guarantee
    assert "63 %" in greedy_batch(draws, noise, "information", 2).guarantee


def test_bad_input_is_refused() -> None:
    draws, noise = worlds(), noise_of(9)
    for kind, words in (
        ("expected_best", "incumbent is None"),
        ("mixed", "needs weights"),
        ("best", "unknown kind 'best'"),
    ):
        with pytest.raises(AcquisitionError, match=words):
            greedy_batch(draws, noise, kind, 2)
    with pytest.raises(AcquisitionError, match="batch of 0"):
        greedy_batch(draws, noise, "information", 0)
    with pytest.raises(AcquisitionError, match="pending row"):
        greedy_batch(draws, noise, "information", 2, pending=np.array([9]))
    with pytest.raises(AcquisitionError, match="NaN"):
        greedy_batch(draws * np.nan, noise, "information", 2)
    with pytest.raises(AcquisitionError):
        greedy_batch(draws[:1], noise, "information", 2)
    with pytest.raises(AcquisitionError, match="noise"):
        greedy_batch(draws, Noise(np.zeros(9)), "information", 2)
    with pytest.raises(AcquisitionError, match="below 0"):
        greedy_batch(draws, noise, "mixed", 2, weights={"information": -1.0})
    with pytest.raises(AcquisitionError, match="mixture of mixtures"):
        greedy_batch(draws, noise, "mixed", 2, weights={"mixed": 1.0})
