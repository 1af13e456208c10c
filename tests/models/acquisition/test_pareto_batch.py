"""Batches for several objectives against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from models.acquisition.pareto_batch import front_batch
from models.objectives.pareto import front_probability, hypervolume, non_dominated
from models.screen import FloatArray, NothingLeft, ScreenError


def some_draws(k: int = 2, n: int = 12, m: int = 15, seed: int = 0) -> FloatArray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(k, 1, m)) + 0.7 * rng.normal(size=(k, n, m))


def volume(draws: FloatArray, rows: list[int], reference: FloatArray) -> float:
    """Mean over worlds of the volume that ``rows`` dominate."""
    return float(
        np.mean([hypervolume(world[rows], reference) for world in draws.transpose(1, 2, 0)])
    )


def slow_greedy(draws: FloatArray, size: int, reference: FloatArray, start: list[int]) -> list[int]:
    chosen = list(start)
    for _ in range(size):
        rest = [j for j in range(draws.shape[2]) if j not in chosen]
        chosen.append(max(rest, key=lambda j: volume(draws, [*chosen, j], reference)))
    return chosen[len(start) :]


@pytest.mark.parametrize("k", [2, 3])
def test_lazy_greedy_is_greedy(k: int) -> None:
    draws, reference = some_draws(k), np.full(k, -1.0)
    batch = front_batch(draws, 5, reference)
    assert batch.rows.tolist() == slow_greedy(draws, 5, reference, [])
    assert batch.gain.sum() == pytest.approx(volume(draws, batch.rows.tolist(), reference))
    assert np.all(np.diff(batch.gain) <= 1e-12)
    alone = [volume(draws, [j], reference) for j in range(draws.shape[2])]
    assert batch.first_gain == pytest.approx(alone)


def test_greedy_keeps_its_guarantee() -> None:
    for seed in range(4):
        draws, reference = some_draws(m=9, seed=seed), np.full(2, -1.0)
        best = max(volume(draws, list(s), reference) for s in itertools.combinations(range(9), 3))
        assert front_batch(draws, 3, reference).gain.sum() >= (1 - np.exp(-1)) * best


def test_pending_and_measured_are_counted_as_had() -> None:
    draws, reference = some_draws(), np.full(2, -1.0)
    pending = np.array([3, 7])
    batch = front_batch(draws, 4, reference, pending=pending)
    assert batch.rows.tolist() == slow_greedy(draws, 4, reference, [3, 7])
    drawn = front_batch(np.delete(draws, pending, 2), 4, reference, measured=draws[:, :, pending])
    assert np.delete(np.arange(15), pending)[drawn.rows].tolist() == batch.rows.tolist()
    beyond = front_batch(draws, 4, reference, measured=np.array([[50.0, 50.0]]))
    assert beyond.gain.tolist() == [0.0] * 4
    assert beyond.front_probability.tolist() == [0.0] * 15


def test_the_second_of_two_equal_candidates_adds_nothing() -> None:
    draws, reference = some_draws(), np.full(2, -1.0)
    best = int(front_batch(draws, 1, reference).rows[0])
    twin = np.concatenate([draws, draws[:, :, [best]]], axis=2)
    batch = front_batch(twin, 4, reference)
    assert batch.rows[0] == best
    assert 15 not in batch.rows
    likely = front_batch(twin, 15, reference, rule="front_probability")
    at = likely.rows.tolist().index(best)
    assert likely.rows[at + 1] == 15
    assert np.all(np.diff(likely.gain) <= 0)


def test_the_batch_names_what_is_on_the_mean_front() -> None:
    draws = some_draws(3)
    for rule in ("hypervolume", "front_probability"):
        batch = front_batch(draws, 6, np.full(3, -1.0), rule=rule)
        front = non_dominated(draws.mean(axis=1).T)
        assert np.array_equal(batch.mean_front, front)
        assert np.array_equal(batch.on_mean_front, front[batch.rows])
        assert np.array_equal(batch.front_probability, front_probability(draws))


def test_order_of_the_pool_does_not_matter() -> None:
    draws, reference = some_draws(m=40), np.full(2, -1.0)
    order = np.random.default_rng(1).permutation(40)
    there = front_batch(draws[:, :, order], 8, reference)
    assert order[there.rows].tolist() == front_batch(draws, 8, reference).rows.tolist()


def test_small_pools_are_taken_whole_and_excluded_rows_never() -> None:
    draws, excluded = some_draws(m=6), np.array([True, False, False, True, False, False])
    for rule in ("hypervolume", "front_probability"):
        batch = front_batch(draws, 9, np.zeros(2), rule=rule, excluded=excluded)
        assert sorted(batch.rows.tolist()) == [1, 2, 4, 5]
    with pytest.raises(NothingLeft):
        front_batch(draws, 1, np.zeros(2), excluded=np.ones(6, bool))


def test_what_does_not_fit_is_refused() -> None:
    draws = some_draws()
    with pytest.raises(ScreenError, match="unknown rule"):
        front_batch(draws, 1, np.zeros(2), rule="best")
    with pytest.raises(ScreenError, match="reference point of 2"):
        front_batch(draws, 1, np.zeros(3))
    with pytest.raises(ScreenError, match="measured values"):
        front_batch(draws, 1, np.zeros(2), measured=np.zeros((4, 3)))
    with pytest.raises(ScreenError, match="expected"):
        front_batch(draws[:, :1], 1, np.zeros(2))
