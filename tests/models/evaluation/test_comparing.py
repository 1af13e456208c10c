"""Paired tests against scipy and by hand, summaries, no number where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from models.evaluation.comparing import compare, paired_tests, sign_flip, summarise


def result(fold: int, pearson: float | None, elpd: float, n_train: int = 80) -> dict:
    scores = {
        "pearson": pearson,
        "spearman": 0.1,
        "rmse": 2.0,
        "elpd": elpd,
        "top": {"recall": 0.5},
    }
    return {
        "fold": fold,
        "n_train_before_limit": n_train,
        "n_test": 20,
        "scores": {**scores, "route": "scores"},
        "seconds": {"fit": 1.0 + fold},
        "noise_ceiling": {"pearson": 0.9},
    }


def test_the_t_test_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=7) + 0.4, rng.normal(size=7)
    found = paired_tests(list(zip(a, b, strict=True)), test_to_train=0.0)
    assert found["t"] == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue, abs=1e-6)
    assert found["corrected_t"] == found["t"]
    assert found["wilcoxon"] == pytest.approx(scipy.stats.wilcoxon(a, b).pvalue, abs=1e-6)
    assert found["wins"] == int((a > b).sum())


def test_the_corrected_test_is_more_careful() -> None:
    """Five folds: t shrinks by sqrt((1/5) / (1/5 + 1/4)) = 2/3."""
    pairs = [(0.1 * k, 0.0) for k in (1, 2, 3, 4, 5)]
    found = paired_tests(pairs, test_to_train=0.25)
    t = 0.3 / np.sqrt(0.025 / 5)
    assert found["t"] == pytest.approx(2 * scipy.stats.t.sf(t, 4), abs=1e-6)
    assert found["corrected_t"] == pytest.approx(2 * scipy.stats.t.sf(t * 2 / 3, 4), abs=1e-6)


def test_five_wins_of_five_are_worth_one_sixteenth() -> None:
    assert sign_flip(np.array([1.0, 2.0, 0.5, 3.0, 0.1])) == pytest.approx(2 / 32)
    assert sign_flip(np.zeros(4)) == 1.0
    assert sign_flip(np.array([1.0, -1.0])) == 1.0
    many = np.random.default_rng(0).normal(size=30)
    exact = float(scipy.stats.ttest_1samp(many, 0).pvalue)
    assert sign_flip(many) == pytest.approx(exact, abs=0.03)


def test_only_folds_that_both_have_are_compared() -> None:
    ours = [result(k, 0.5 + 0.01 * k, -3.0) for k in range(4)]
    theirs = [result(k, None if k == 1 else 0.4, -3.5) for k in (3, 1, 2)]
    found = compare(ours, theirs)
    assert found["pearson"]["n"] == 2
    assert found["pearson"]["mean"] == pytest.approx(0.125)
    assert found["elpd"] == {
        "n": 3,
        "mean": 0.5,
        "wins": 3,
        "t": 0.0,
        "corrected_t": 0.0,
        "wilcoxon": 0.25,
        "sign_flip": 0.25,
    }
    alone = compare(ours[:1], theirs)
    assert alone["elpd"]["n"] == 0
    assert alone["elpd"]["t"] is None
    equal = compare(ours, ours)["elpd"]
    assert (equal["t"], equal["wilcoxon"], equal["wins"]) == (1.0, None, 0)


def test_a_summary_is_the_mean_of_every_number() -> None:
    found = summarise([result(k, 0.5 + 0.1 * k, -3.0 - k) for k in range(3)])
    assert found["scores"]["pearson"] == pytest.approx(0.6)
    assert found["scores"]["top"]["recall"] == 0.5
    assert found["scores"]["route"] == "scores"
    assert found["seconds"]["fit"] == 2.0
    assert found["sd"]["elpd"] == pytest.approx(1.0)
    assert found["n_folds"] == 3
    lacking = summarise([result(0, None, -3.0), result(1, 0.5, -3.0)])
    assert lacking["scores"]["pearson"] is None
    assert summarise([result(0, 0.5, -3.0)])["sd"]["elpd"] is None
