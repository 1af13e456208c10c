"""The published shrinkage: its formula, its limits, and its clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from models.screen import ScreenError
from models.triage.evidence import WeightOfEvidence, cluster_evidence, shrink_rates


def test_the_formula_by_hand() -> None:
    """Two categories of 100 and 300 rows: v_j = p_j (1 - p_j) / n_j, t2 the sample variance."""
    hits, rows = np.array([30.0, 30.0]), np.array([100.0, 300.0])
    p, overall = np.array([0.3, 0.1]), 0.15
    v, q = p * (1 - p) / rows, np.array([0.25, 0.75])
    below = v * (1 - 2 * q) + overall * (1 - overall) / 400 + 0.02
    share = v * (1 - q) / below
    found = shrink_rates(hits, rows)
    assert found.share == pytest.approx(share, rel=1e-12)
    assert found.rate == pytest.approx((1 - share) * p + share * overall, rel=1e-12)


def test_few_rows_have_the_variance_of_the_global_rate() -> None:
    hits, rows = np.array([1.0, 60.0]), np.array([10.0, 290.0])
    overall = 61 / 300
    v, q = overall * (1 - overall) / 10, 1 / 30
    spread = np.var([0.1, 60 / 290], ddof=1)
    below = v * (1 - 2 * q) + overall * (1 - overall) / 300 + spread
    assert shrink_rates(hits, rows).share[0] == pytest.approx(v * (1 - q) / below, rel=1e-12)


def test_shares_lie_between_nothing_and_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = rng.geometric(1 / 25, 20).astype(float)
        hits = rng.binomial(rows.astype(int), 0.06).astype(float)
        share = shrink_rates(hits, rows).share
        assert np.all((share >= 0) & (share <= 1))


def test_many_rows_keep_their_own_rate() -> None:
    rates = np.array([0.02, 0.1, 0.4])
    found = shrink_rates(rates * 1e7, np.full(3, 1e7))
    assert np.all(found.share < 1e-5)
    assert found.rate == pytest.approx(rates, rel=1e-4)


def test_categories_that_do_not_differ_get_the_global_rate() -> None:
    """Many small categories of one rate: b tends to 1 as q and t2 tend to 0."""
    found = shrink_rates(np.full(2000, 10.0), np.full(2000, 100.0))
    assert np.all(found.share > 0.999)
    assert found.rate == pytest.approx(np.full(2000, 0.1), rel=1e-9)


def test_a_single_category_keeps_the_rate_of_all() -> None:
    assert shrink_rates(np.array([7.0]), np.array([70.0])).rate[0] == pytest.approx(0.1)


def test_no_rate_reaches_nothing_or_certainty() -> None:
    found = shrink_rates(np.array([0.0, 60.0, 5.0]), np.array([60.0, 60.0, 60.0]))
    assert np.all((found.rate > 0) & (found.rate < 1))
    pooled = shrink_rates(
        np.array([0.0, 60.0, 5.0]), np.array([60.0, 60.0, 60.0]), pool_extremes=True
    )
    assert pooled.share[0] > found.share[0]  # the global variance is the larger one


def test_an_unseen_category_gets_the_global_log_odds() -> None:
    evidence = WeightOfEvidence.fit(
        ["a"] * 40 + ["b"] * 60, np.array([1.0] * 10 + [0.0] * 30 + [1.0] * 3 + [0.0] * 57)
    )
    assert evidence.of(["never seen"])[0] == pytest.approx(logit(0.13), rel=1e-12)
    a, b = evidence.of(["a", "b"])
    assert a > evidence.overall > b


def test_two_kinds_of_categories_make_two_clusters() -> None:
    rows = np.full(12, 400.0)
    hits = np.array([10.0] * 6 + [120.0] * 6)
    found = cluster_evidence(hits, rows)
    assert found.label.tolist() == [0] * 6 + [1] * 6
    assert found.log_odds[1] - found.log_odds[0] == pytest.approx(
        logit(0.3) - logit(0.025), abs=0.1
    )
    assert len(found.log_odds) == 2


def test_more_hits_than_rows_are_refused() -> None:
    with pytest.raises(ScreenError, match="as many hits as rows"):
        shrink_rates(np.array([3.0]), np.array([2.0]))
