"""Beta-binomial rates: marginal likelihood, posteriors, back-off and symmetry to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import beta, betabinom

from models.screen import ABSENT, ScreenError
from models.triage.rates import (
    BetaBinomial,
    LabelRates,
    PairRates,
    beta_log_odds,
    effective_counts,
    fit_beta_binomial,
)


def simulated(groups: int, seed: int, size: float = 25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.geometric(1 / size, groups)
    hits = rng.binomial(rows, rng.beta(0.9, 14.1, groups))
    return hits.astype(float), rows.astype(float)


def test_the_fit_is_the_optimum_of_the_exact_likelihood() -> None:
    hits, rows = simulated(60, 3)
    found = fit_beta_binomial(hits, rows)

    def likelihood(mean: float, strength: float) -> float:
        a, b = mean * strength, (1 - mean) * strength
        return float(betabinom.logpmf(hits, rows, a, b).sum())

    best = likelihood(found.mean, found.strength)
    for mean, strength in [(1.05, 1.0), (0.95, 1.0), (1.0, 1.15), (1.0, 0.87)]:
        assert likelihood(found.mean * mean, found.strength * strength) < best


def test_many_groups_give_the_truth_back() -> None:
    hits, rows = simulated(20_000, 1)
    found = fit_beta_binomial(hits, rows)
    assert found.mean == pytest.approx(0.06, rel=0.03)
    assert found.strength == pytest.approx(15.0, rel=0.1)


def test_groups_that_do_not_differ_are_pooled() -> None:
    rng = np.random.default_rng(2)
    rows = np.full(400, 50.0)
    hits = np.full(400, 5.0) + rng.integers(-1, 2, 400)  # less spread than chance
    found = fit_beta_binomial(hits, rows)
    assert found.strength > 1e4
    assert np.ptp(found.rate(hits, rows)) < 1e-2


def test_the_posterior_mean_and_interval_are_those_of_the_integral() -> None:
    model = BetaBinomial(0.06, 15.0)
    h, n = 2.0, 9.0

    def posterior(p: float) -> float:
        return float(p**h * (1 - p) ** (n - h) * beta.pdf(p, 0.9, 14.1))

    mass = quad(posterior, 0, 1)[0]
    mean = quad(lambda p: p * posterior(p), 0, 1)[0] / mass
    assert model.rate(np.array([h]), np.array([n]))[0] == pytest.approx(mean, rel=1e-8)
    low, high = model.interval(np.array([h]), np.array([n]), 0.9)
    inside = quad(posterior, float(low[0]), float(high[0]))[0] / mass
    assert inside == pytest.approx(0.9, abs=1e-6)


def test_a_group_without_rows_has_the_mean() -> None:
    assert BetaBinomial(0.2, 10).rate(np.zeros(1), np.zeros(1))[0] == 0.2


@pytest.mark.parametrize("hits", [0.0, 5.0])
def test_nothing_but_hits_or_misses_is_refused(hits: float) -> None:
    with pytest.raises(ScreenError, match="at least one hit"):
        fit_beta_binomial(np.array([hits]), np.array([5.0]))


def test_equal_weights_count_rows_and_unequal_ones_fewer() -> None:
    group, hit = np.array([0, 0, 0, 1]), np.array([1.0, 0.0, 0.0, 1.0])
    hits, rows = effective_counts(group, hit, np.full(4, 2.5), 3)
    assert hits.tolist() == pytest.approx([1, 1, 0])
    assert rows.tolist() == pytest.approx([3, 1, 0])
    hits, rows = effective_counts(group, hit, np.array([4.0, 1.0, 1.0, 1.0]), 3)
    assert rows[0] == pytest.approx(36 / 18)
    assert hits[0] / rows[0] == pytest.approx(4 / 6)


def pair_data(seed: int = 0, n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 10, (n, 2))
    own = rng.standard_normal(10)
    hit = rng.random(n) < expit(-2 + own[label].sum(1))
    return label.astype(np.int64), hit.astype(float)


def test_both_orders_of_a_pair_are_one_to_the_last_bit() -> None:
    """Whatever the order of sides in training, in asking, or in both."""
    label, hit = pair_data()
    weight = np.ones(len(hit))
    flip = np.random.default_rng(1).random(len(hit)) < 0.5
    turned = np.where(flip[:, None], label[:, ::-1], label)
    one = PairRates.fit(label, hit, weight, 10)
    other = PairRates.fit(turned, hit, weight, 10)
    asked = np.concatenate([label[:50], [[3, ABSENT], [ABSENT, ABSENT]]])
    assert np.array_equal(one.evidence(asked), one.evidence(asked[:, ::-1]))
    assert np.array_equal(one.evidence(asked), other.evidence(asked))
    assert np.array_equal(one.draws(asked, 20, 5), one.draws(asked[:, ::-1], 20, 5))


def test_a_pair_backs_off_to_its_labels_and_then_to_all() -> None:
    label, hit = pair_data()
    kept = ~(np.sort(label, 1) == [2, 7]).all(axis=1)
    rates = PairRates.fit(label[kept], hit[kept], np.ones(kept.sum()), 12)
    added = rates.labels.added
    unseen = np.array([[2, 7], [7, 10], [10, 11], [ABSENT, 4], [ABSENT, ABSENT]])
    expected = rates.weight * np.array([added[2] + added[7], added[7], 0.0, added[4], 0.0])
    assert rates.evidence(unseen) == pytest.approx(expected, abs=1e-12)
    assert rates.evidence(unseen)[2] == 0.0
    assert rates.weight > 0.5  # effects were additive on the log-odds


def test_rows_of_a_pair_overrule_its_labels_as_they_grow() -> None:
    label, hit = pair_data()
    more = np.full((4000, 2), [2, 7], dtype=np.int64)
    outcome = np.tile([1.0, 0.0], 2000)
    rates = PairRates.fit(
        np.concatenate([label, more]), np.concatenate([hit, outcome]), np.ones(7000), 10
    )
    rate = expit(rates.labels.overall + rates.evidence(np.array([[2, 7]]))[0])
    assert rate == pytest.approx(0.5, abs=0.01)


def test_draws_are_those_of_the_beta_posterior() -> None:
    drawn = beta_log_odds(np.array([[2.5]]), np.array([[9.0]]), np.array([4]), 40_000, 0)[:, 0]
    a, b = 2.5, 9.0
    # Standard error of a mean of 40,000 with sd 0.28: 0.0035 of the log-odds' 0.75.
    assert expit(drawn).mean() == pytest.approx(a / (a + b), abs=4 * 0.13 / 200)
    for q in (0.05, 0.5, 0.95):
        inside = float((expit(drawn) < beta.ppf(q, a, b)).mean())
        assert inside == pytest.approx(q, abs=0.006)


def test_draws_of_one_category_do_not_depend_on_the_others_asked_for() -> None:
    label, hit = pair_data()
    rates = PairRates.fit(label, hit, np.ones(len(hit)), 10)
    alone = rates.draws(label[7:8], 30, 1)
    assert np.array_equal(alone[:, 0], rates.draws(label[:40], 30, 1)[:, 7])


def test_draws_centre_on_the_evidence() -> None:
    label, hit = pair_data(n=20_000)
    rates = PairRates.fit(label, hit, np.ones(len(hit)), 10)
    asked = np.unique(np.sort(label, 1), axis=0)
    rate = expit(rates.labels.overall + rates.draws(asked, 400, 0)).mean(axis=0)
    known = expit(rates.labels.overall + rates.evidence(asked))
    # Evidence is the log-odds of the mean rate. Posterior sd of 360 rows: 0.026 at most, so 0.0013
    # for a mean of 400 draws, and as much again for the parents, which are drawn, too.
    assert rate == pytest.approx(known, abs=0.01)


def test_one_label_twice_in_a_row_counts_once() -> None:
    label = np.array([[1, 1], [1, 0], [0, 0], [1, ABSENT]])
    rates = LabelRates.fit(label, np.array([1.0, 0.0, 0.0, 1.0]), np.ones(4), 3)
    assert rates.rows.tolist() == pytest.approx([2, 3, 0])
    assert rates.hits.tolist() == pytest.approx([0, 2, 0])
    assert rates.overall == pytest.approx(logit(2.5 / 5))
