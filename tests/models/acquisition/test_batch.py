"""The batch obeys its rules, whatever the values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.acquisition.batch import BatchRules, choose_batch, fill_batch
from models.screen import Candidates, ScreenError


def some_pool(n: int = 6, lines: int = 2) -> Candidates:
    first, second = np.triu_indices(n, k=1)
    return Candidates.of(
        np.tile(first, lines), np.tile(second, lines), np.repeat(np.arange(lines), len(first))
    )


def none_of(pool: Candidates) -> np.ndarray:
    return np.zeros(len(pool), dtype=bool)


def test_without_limits_it_is_the_top() -> None:
    pool = some_pool()
    values = np.arange(len(pool), dtype=float)
    rows = choose_batch(pool, values, BatchRules(3), pinned=none_of(pool), excluded=none_of(pool))
    assert rows.tolist() == [29, 28, 27]


@given(st.integers(1, 40), st.one_of(st.none(), st.integers(1, 6)), st.integers(0, 10_000))
def test_every_batch_obeys_the_rules(size: int, cap: int | None, seed: int) -> None:
    rng, pool = np.random.default_rng(seed), some_pool()
    values = rng.normal(size=len(pool))
    excluded = rng.random(len(pool)) < 0.3
    pinned = ~excluded & (rng.random(len(pool)) < 0.05)
    pinned[np.flatnonzero(pinned)[size:]] = False
    rows = choose_batch(pool, values, BatchRules(size, cap), pinned=pinned, excluded=excluded)
    assert len(rows) == len(set(rows.tolist())) <= size
    assert not excluded[rows].any()
    k = int(pinned.sum())
    assert set(rows[:k].tolist()) == set(np.flatnonzero(pinned).tolist())
    used = np.bincount(pool.compounds[rows].ravel(), minlength=6)
    own = np.bincount(pool.compounds[rows[:k]].ravel(), minlength=6)
    if cap is not None:
        assert np.all(used <= np.maximum(cap, own))
    if len(rows) < size:
        left = np.setdiff1d(np.flatnonzero(~excluded), rows)
        full = np.inf if cap is None else cap
        assert all(used[pool.compounds[row]].max() >= full for row in left)


def test_pinned_come_first_and_count_to_the_cap() -> None:
    pool = Candidates.of(np.array([0, 0, 0, 2]), np.array([1, 2, 3, 3]), np.zeros(4, np.int64))
    pinned = np.array([True, False, False, False])
    values = np.array([0.0, 3.0, 2.0, 1.0])
    rows = choose_batch(pool, values, BatchRules(3, 1), pinned=pinned, excluded=none_of(pool))
    assert rows.tolist() == [0, 3]


def test_contradictions_are_errors() -> None:
    pool = some_pool()
    values, both = np.zeros(len(pool)), none_of(pool)
    both[4] = True
    with pytest.raises(ScreenError, match="candidate 4 is pinned"):
        choose_batch(pool, values, BatchRules(3), pinned=both, excluded=both)
    with pytest.raises(ScreenError, match="30 candidates are pinned"):
        choose_batch(pool, values, BatchRules(3), pinned=~none_of(pool), excluded=none_of(pool))
    nan = values + np.nan
    with pytest.raises(ScreenError, match="NaN"):
        choose_batch(pool, nan, BatchRules(3), pinned=none_of(pool), excluded=none_of(pool))
    with pytest.raises(ScreenError, match="batch of 0"):
        BatchRules(0)


def test_a_short_batch_says_why() -> None:
    pool = some_pool(lines=1)
    values, none = np.ones(len(pool)), none_of(pool)
    full = fill_batch(pool, values, BatchRules(15), pinned=none, excluded=none)
    assert full.shortfall == ""
    few = fill_batch(pool, values, BatchRules(16), pinned=none, excluded=none)
    assert few.shortfall == "15 of 16 candidates: there are no more usable candidates"
    capped = fill_batch(pool, values, BatchRules(15, 1), pinned=none, excluded=none)
    assert len(capped.rows) == 3
    assert capped.shortfall.startswith("3 of 15 candidates: each of the 12 usable candidates left")
    assert capped.shortfall.endswith("so are 6 compounds")
