"""Folds: nothing on both sides, every block asked for, the same folds for everybody."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.splits import SPLITS, fold_of_groups, make_folds
from models.screen import Candidates, ScreenError

SCREENS = st.tuples(st.integers(6, 12), st.integers(4, 8), st.integers(40, 200), st.integers(0, 99))


def screen(shape: tuple[int, int, int, int]) -> Candidates:
    """Distinct random blocks, in any order, with each compound and cell line among them."""
    n_compounds, n_lines, size, seed = shape
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(n_compounds, k=1)
    every = Candidates.of(
        np.tile(first, n_lines), np.tile(second, n_lines), np.repeat(np.arange(n_lines), len(first))
    )
    chosen = rng.permutation(len(every))[:size]
    return every.select(chosen)


def pairs(candidates: Candidates, rows: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in candidates.compounds[rows].tolist()}


def compounds(candidates: Candidates, rows: np.ndarray) -> set[int]:
    return set(candidates.compounds[rows].ravel().tolist())


def lines(candidates: Candidates, rows: np.ndarray) -> set[int]:
    return set(candidates.cell_line[rows].tolist())


@pytest.mark.parametrize("split", ["random", "pair", "cell-line"])
@settings(max_examples=25, deadline=None)
@given(shape=SCREENS, seed=st.integers(0, 9))
def test_every_block_is_tested_once(
    split: str, shape: tuple[int, int, int, int], seed: int
) -> None:
    candidates = screen(shape)
    folds = make_folds(candidates, split, 3, seed)
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    assert np.array_equal(tested, np.arange(len(candidates)))
    for fold in folds:
        assert not len(fold.dropped)
        assert np.array_equal(
            np.sort(np.concatenate([fold.train, fold.test])), np.arange(len(candidates))
        )
        if split == "pair":
            assert not pairs(candidates, fold.train) & pairs(candidates, fold.test)
        if split == "cell-line":
            assert not lines(candidates, fold.train) & lines(candidates, fold.test)


@settings(max_examples=25, deadline=None)
@given(SCREENS, st.integers(0, 9))
def test_a_held_out_compound_is_in_no_training_block(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    candidates = screen(shape)
    folds = make_folds(candidates, "compound", 2, seed)
    times = np.zeros(len(candidates), int)
    held_sets = []
    for fold in folds:
        held = compounds(candidates, np.arange(len(candidates))) - compounds(candidates, fold.train)
        held_sets.append(held)
        assert all(held & set(pair) for pair in candidates.compounds[fold.test].tolist())
        assert len(fold.train) + len(fold.test) == len(candidates)
        times[fold.test] += 1
    assert times.min() >= 1
    assert times.max() <= 2


@settings(max_examples=25, deadline=None)
@given(st.integers(8, 12), st.integers(0, 9))
def test_both_compounds_of_a_test_block_are_new(n_compounds: int, seed: int) -> None:
    candidates = screen((n_compounds, 4, 10**6, seed))
    for fold in make_folds(candidates, "both-compounds", 3, seed):
        tested, trained = compounds(candidates, fold.test), compounds(candidates, fold.train)
        assert not tested & trained
        assert all(len(tested & set(p)) == 1 for p in candidates.compounds[fold.dropped].tolist())
        rows = np.concatenate([fold.train, fold.test, fold.dropped])
        assert np.array_equal(np.sort(rows), np.arange(len(candidates)))


@pytest.mark.parametrize("split", list(SPLITS))
def test_the_order_of_rows_changes_nothing(split: str) -> None:
    candidates = screen((12, 6, 300, 4))
    order = np.random.default_rng(1).permutation(len(candidates))
    plain, shuffled = (
        make_folds(table, split, 3, 5) for table in (candidates, candidates.select(order))
    )
    for one, other in zip(plain, shuffled, strict=True):
        for side in ("train", "test", "dropped"):
            rows = np.sort(order[getattr(other, side)])
            assert np.array_equal(getattr(one, side), rows)
    assert any(
        not np.array_equal(a.test, b.test)
        for a, b in zip(plain, make_folds(candidates, split, 3, 6), strict=True)
    )


def test_folds_are_equally_large_and_seeded() -> None:
    groups = np.repeat(np.arange(23), 3)
    fold = fold_of_groups(groups, 5, 0)
    sizes = np.bincount(fold) // 3
    assert sorted(sizes.tolist()) == [4, 4, 5, 5, 5]
    assert np.array_equal(fold, fold_of_groups(groups, 5, 0))


def test_what_cannot_be_split_is_refused() -> None:
    candidates = screen((6, 4, 60, 0))
    with pytest.raises(ScreenError, match="known are random, pair"):
        make_folds(candidates, "scaffold", 3, 0)
    with pytest.raises(ScreenError, match="at least two"):
        make_folds(candidates, "pair", 1, 0)
    with pytest.raises(ScreenError, match="there are 4"):
        make_folds(candidates, "cell-line", 5, 0)
    with pytest.raises(ScreenError, match="nothing to test: use fewer folds"):
        make_folds(candidates, "both-compounds", 6, 0)
    one_pair = Candidates.of(np.zeros(2, int), np.ones(2, int), np.arange(2))
    with pytest.raises(ScreenError, match="nothing to train on"):
        make_folds(one_pair, "compound", 2, 0)
