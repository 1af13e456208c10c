"""Held-out scores, skill, interactions; and the bars of the CellBox screen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from benchmarks.perturbation_cellbox import read_cellbox, reference_ridge
from models.perturbation.data import ResponseTable
from models.perturbation.evaluate import (
    HeldOutResponses,
    compare,
    each_row,
    hold_out,
    interaction_draws,
    interaction_score,
    pairs_of_each,
    skill,
    transfer,
)
from models.perturbation.learnable import learnable
from models.perturbation.pair_factors import PairFactors
from models.perturbation.ridge import Ridge
from models.perturbation.stack import Stacked
from models.screen import ScreenError, Stopped
from tests.models.perturbation.responses import screen


def held(errors: np.ndarray) -> HeldOutResponses:
    zeros = np.zeros_like(errors)
    return HeldOutResponses(np.arange(len(errors)), errors, zeros, zeros, zeros)


def test_skill_is_the_share_explained_over_the_best_baseline() -> None:
    ones = np.ones((50, 3))
    found = skill(held(0.5 * ones), {"bad": held(2 * ones), "good": held(ones)})
    assert (found.value, found.low, found.high, found.baseline) == (0.75, 0.75, 0.75, "good")
    assert skill(held(3 * ones), {"good": held(ones)}).value == 0.0
    assert skill(held(0 * ones), {"good": held(0 * ones)}).value == 0.0
    noisy = np.random.default_rng(0).normal(size=(50, 3))
    wide = skill(held(0.9 * noisy[::-1]), {"good": held(noisy)})
    assert wide.low < wide.value < wide.high
    with pytest.raises(ScreenError, match="other conditions"):
        skill(held(ones), {"good": held(ones[:4])})
    with pytest.raises(ScreenError, match="none is given"):
        skill(held(ones), {})


def test_compare_is_the_paired_tests() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(size=30) + 0.5
    found = compare(a, b)
    assert found["t"] == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)
    assert found["wilcoxon"] == pytest.approx(scipy.stats.wilcoxon(a, b).pvalue)
    assert compare(a, a)["t"] == 1.0


def test_held_out_conditions_are_not_seen() -> None:
    table, _ = screen()
    rows = learnable(table)
    pairs = np.flatnonzero(rows.n_present == 2)[:4]
    changed = rows.values.copy()
    changed[pairs[0]] += 100.0
    other = ResponseTable.of(
        perturbations=rows.perturbations,
        readouts=rows.readouts,
        conditions=rows.conditions,
        doses=rows.doses,
        values=changed,
    )
    one = hold_out(Ridge(), rows, each_row(pairs), seed=0)
    two = hold_out(Ridge(), other, each_row(pairs), seed=0)
    np.testing.assert_allclose(one.mean[0], two.mean[0], atol=1e-9)
    assert not np.allclose(one.mean[1], two.mean[1], atol=1e-3)
    with pytest.raises(ScreenError, match="average the table first"):
        hold_out(Ridge(), rows.select(np.r_[0, 0 : len(rows)]), each_row(pairs), seed=0)
    with pytest.raises(Stopped):
        hold_out(Ridge(), rows, each_row(pairs), seed=0, should_stop=lambda: True)


def test_folds_of_a_perturbation_hold_its_pairs_and_keep_its_singles() -> None:
    table, _ = screen()
    folds = pairs_of_each(table)
    assert len(folds) == 8
    assert all(len(fold) == 7 for fold in folds)
    assert all((table.n_present[fold] == 2).all() for fold in folds)


def test_interactions_are_recovered_and_their_spread_is_that_of_the_functional() -> None:
    table, truth = screen(p=10, g=20, noise=0.05, interaction=0.4)
    fitted = PairFactors(powers=(1.0,), interactions=(0.8, 6.4, 51.2)).fit(table, seed=0)
    pairs = table.n_present == 2
    effects = {
        int(np.flatnonzero(d)[0]): t
        for d, t in zip(table.doses, truth, strict=True)
        if (d > 0).sum() == 1 and d.max() == 1.0
    }
    alone = [sum(effects[int(k)] for k in np.flatnonzero(d)) for d in table.doses[pairs]]
    real = truth[pairs] - np.array(alone)
    weights = np.random.default_rng(0).normal(size=20)
    found = interaction_score(fitted, table.doses[pairs], weights, 200, 0)
    assert np.corrcoef(found.mean, real @ weights)[0, 1] > 0.95
    inside = (found.low <= real @ weights) & (real @ weights <= found.high)
    assert inside.mean() > 0.7
    draws = interaction_draws(fitted, table.doses[pairs], 200, 0) @ weights
    np.testing.assert_allclose(found.sd, draws.std(axis=0, ddof=1))
    with pytest.raises(ScreenError, match="weights for 20 readouts"):
        interaction_score(fitted, table.doses[pairs], weights[:3], 10, 0)


@pytest.fixture
def cellbox(data_folder: Path) -> ResponseTable:
    """The real screen."""
    if not (data_folder / "cellbox").is_dir():
        pytest.skip("NEXTROUND_DATA has no cellbox")
    return read_cellbox(data_folder / "cellbox")


@pytest.mark.data
def test_the_published_bars_come_out_again(cellbox: ResponseTable) -> None:
    pairs = cellbox.pairs()
    said = reference_ridge(cellbox.singles(), pairs.doses)
    assert np.square(said - pairs.values).mean() == pytest.approx(0.0296, abs=5e-5)
    assert np.corrcoef(said.ravel(), pairs.values.ravel())[0, 1] == pytest.approx(0.938, abs=5e-4)
    rows = np.flatnonzero(cellbox.n_present == 2)
    errors = [
        reference_ridge(cellbox.select(np.arange(89) != i), cellbox.doses[i]) - cellbox.values[i]
        for i in rows
    ]
    assert np.square(errors).mean() == pytest.approx(0.0201, abs=5e-5)


@pytest.mark.slow
@pytest.mark.data
def test_pair_factors_beats_the_bar_of_left_out_pairs(cellbox: ResponseTable) -> None:
    rows = learnable(cellbox)
    pairs = np.flatnonzero(rows.n_present == 2)[::6]
    own = hold_out(PairFactors(), rows, each_row(pairs), seed=0)
    other = hold_out(Ridge(), rows, each_row(pairs), seed=0)
    assert own.squared_error.mean() < other.squared_error.mean()


@pytest.mark.data
def test_the_stack_beats_the_bar_of_singles(cellbox: ResponseTable) -> None:
    rows = learnable(cellbox)
    pairs = np.flatnonzero(rows.n_present == 2)
    found = transfer(Stacked().fit(rows.singles(), seed=0), rows, pairs)
    scores = found.scores()
    assert scores["mse"] < 0.0296
    assert scores["pearson"] > 0.938
    assert 0.87 <= scores["coverage"] <= 0.93
