"""Acquisition functions on numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from models.acquisition.draws import AcquisitionError
from models.acquisition.functions import (
    ACQUISITIONS,
    LEAST_DRAWS,
    AcquisitionContext,
    greedy,
    hit_probability,
    random_values,
    thompson,
    ucb,
)
from models.bayes.predictive import Noise

DRAWS = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 2.0]])


def test_greedy_is_the_mean() -> None:
    assert greedy(DRAWS).tolist() == [2.0, 2.0, 2.0]


def test_ucb_adds_the_spread() -> None:
    sd = np.array([2**0.5, 8**0.5, 0.0])
    assert ucb(DRAWS, 2.0) == pytest.approx(2.0 + 2.0 * sd)
    assert ucb(DRAWS, 0.0) == pytest.approx(greedy(DRAWS))


def test_hit_probability_counts_draws_or_integrates_noise() -> None:
    assert hit_probability(DRAWS, 1.5).tolist() == [0.5, 0.5, 1.0]
    noisy = hit_probability(DRAWS, 1.5, Noise(np.ones(3)))
    assert noisy[0] == pytest.approx(0.5 * (norm.sf(0.5) + norm.sf(-1.5)))


def test_thompson_takes_turns_between_worlds() -> None:
    draws = np.array([[9.0, 8.0, 1.0, 0.0], [9.0, 0.0, 1.0, 8.0]])
    order = np.argsort(-thompson(draws), kind="stable")
    assert order.tolist() == [0, 1, 3, 2]


def test_random_follows_the_seed() -> None:
    assert random_values(5, 1).tolist() == random_values(5, 1).tolist()
    assert random_values(5, 1).tolist() != random_values(5, 2).tolist()


@pytest.mark.parametrize("name", [n for n in ACQUISITIONS if n != "random"])
@pytest.mark.parametrize("bad", [DRAWS[:1], np.array([[1.0, np.nan], [1.0, 2.0]] * 2), DRAWS[0]])
def test_too_few_or_broken_draws_are_refused(name: str, bad: np.ndarray) -> None:
    context = AcquisitionContext(incumbent=0.0, noise=Noise(np.ones(bad.shape[-1])))
    with pytest.raises(AcquisitionError, match=r"draw\(s\)|draws (hold|have shape)"):
        ACQUISITIONS[name](bad, context)


@pytest.mark.parametrize("name", ["entropy", "bald", "hit_information", "pdbal"])
def test_what_needs_the_noise_says_so(name: str) -> None:
    draws = np.arange(12.0).reshape(4, 3)
    with pytest.raises(AcquisitionError, match="needs the noise"):
        ACQUISITIONS[name](draws, AcquisitionContext(threshold=3.0))
    for broken in (Noise(np.zeros(3)), Noise(np.ones(2)), Noise(np.array([1.0, np.nan, 1.0]))):
        with pytest.raises(AcquisitionError, match="noise"):
            ACQUISITIONS[name](draws, AcquisitionContext(threshold=3.0, noise=broken))


def test_fewest_draws_are_those_that_are_refused_below() -> None:
    assert set(LEAST_DRAWS) == set(ACQUISITIONS)
    context = AcquisitionContext(threshold=0.5, noise=Noise(np.ones(4)), incumbent=0.0, top_k=2)
    for name, least in LEAST_DRAWS.items():
        draws = np.random.default_rng(0).normal(size=(least, 4))
        assert ACQUISITIONS[name](draws, context).shape == (4,)


def test_a_broken_threshold_or_kappa_is_refused() -> None:
    with pytest.raises(AcquisitionError, match="threshold"):
        hit_probability(DRAWS, float("nan"))
    with pytest.raises(AcquisitionError, match="kappa"):
        ucb(DRAWS, -1.0)


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(1, 9), st.integers(0, 99))
def test_values_are_finite_and_thompson_has_no_ties(n: int, m: int, seed: int) -> None:
    draws = np.random.default_rng(seed).normal(size=(n, m))
    context = AcquisitionContext(threshold=0.5, noise=Noise(np.ones(m)), incumbent=0.2, top_k=3)
    for name, function in ACQUISITIONS.items():
        if n >= LEAST_DRAWS[name]:
            values = function(draws, context)
            assert values.shape == (m,)
            assert np.all(np.isfinite(values))
    assert len(np.unique(thompson(draws))) == m


@pytest.mark.parametrize(
    "name", [n for n in ACQUISITIONS if n not in ("random", "thompson", "entropy")]
)
def test_candidates_in_another_order_have_the_same_values(name: str) -> None:
    random = np.random.default_rng(5)
    draws, scale = random.normal(size=(7, 12)), 0.5 + random.random(12)
    order = random.permutation(12)
    context = AcquisitionContext(threshold=0.5, noise=Noise(scale), incumbent=0.2, top_k=3)
    other = replace(context, noise=Noise(scale[order]))
    values = ACQUISITIONS[name](draws, context)
    assert ACQUISITIONS[name](draws[:, order], other) == pytest.approx(
        values[order], rel=1e-9, abs=1e-6
    )
