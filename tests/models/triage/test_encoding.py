"""Out-of-fold encoding: no row is described by itself or by its compounds."""

from __future__ import annotations

import numpy as np

from models.triage.calibration import area_under_curve
from models.triage.encoding import FOLDS, Encoder, deal, encode_out_of_fold
from models.triage.history import compounds_out_of_fold, pairs_out_of_fold
from tests.models.triage.blocks import simulate


def test_pure_noise_looks_like_noise_out_of_fold_and_like_signal_without() -> None:
    """The leak that the folds are for: categories of about ten rows, labels of none.

    An AUC of 600 hits in 4,000 rows has a standard error of 0.0125 at most (Hanley & McNeil)."""
    table, _, _ = simulate(4000, 40, seed=1)
    hit = (np.random.default_rng(2).random(4000) < 0.15).astype(float)
    weight = np.ones(4000)
    fold = deal(table.compounds, table.n_compounds, FOLDS, 0)
    inside = Encoder.fit(table, hit, weight).evidence(table)[:, 0]
    outside = encode_out_of_fold(table, hit, weight, fold)[:, 0]
    within = area_under_curve(inside, hit)
    without = area_under_curve(outside, hit)
    assert within is not None
    assert within > 0.54
    assert without is not None
    assert abs(without - 0.5) < 3 * 0.0125


def test_history_of_pure_noise_looks_like_noise() -> None:
    table, _, _ = simulate(4000, 40, seed=1)
    hit = (np.random.default_rng(3).random(4000) < 0.15).astype(float)
    weight, base = np.ones(4000), np.full(4000, -1.7)
    fold = deal(table.compounds, table.n_compounds, FOLDS, 0)
    for column in (
        compounds_out_of_fold(table, hit, weight, base, fold),
        pairs_out_of_fold(table, hit, weight, base, 0),
    ):
        found = area_under_curve(column, hit)
        assert found is not None
        assert abs(found - 0.5) < 3 * 0.0125


def test_a_rows_own_outcome_changes_nothing_in_its_encoding() -> None:
    table, hit, _ = simulate(400, 12)
    outcome, weight = hit.astype(float), np.ones(400)
    fold = deal(table.compounds, table.n_compounds, 4, 0)
    before = encode_out_of_fold(table, outcome, weight, fold)
    shares = (table.compounds == table.compounds[0, 0]).any(axis=1) | (
        table.compounds == table.compounds[0, 1]
    ).any(axis=1)
    changed = np.where(shares, 1 - outcome, outcome)
    after = encode_out_of_fold(table, changed, weight, fold)
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[~shares], after[~shares])


def test_folds_are_dealt_evenly_and_only_to_what_is_there() -> None:
    fold = deal(np.array([[3, 5], [7, 5], [9, 11]]), 20, 3, 1)
    assert np.array_equal(np.flatnonzero(fold >= 0), [3, 5, 7, 9, 11])
    assert sorted(np.bincount(fold[fold >= 0]).tolist()) == [1, 2, 2]
    assert deal(np.array([[0, 1]]), 2, 5, 0).max() == 1


def test_two_compounds_leave_nothing_to_learn_from() -> None:
    table, hit, _ = simulate(10, 2, 12)
    encoded = encode_out_of_fold(
        table, hit.astype(float), np.ones(10), deal(table.compounds, 2, 5, 0)
    )
    assert not encoded.any()
