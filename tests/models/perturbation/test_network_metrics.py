"""Scores of networks against known edges and held-out cells."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from models.perturbation.interventions import InterventionTable
from models.perturbation.network_baselines import (
    correlation,
    knock_out_z,
    lasso_regression,
    partial_correlation,
    response_size,
    ridge_regression,
)
from models.perturbation.network_metrics import (
    average_precision,
    compare_on_cells,
    edge_rates,
    realised_fdr,
    score_on_cells,
    top_edges,
    wasserstein,
)
from models.perturbation.network_simulate import simulate_network
from models.screen import ScreenError


def test_precision_by_hand():
    scores = np.array([[0, 0.9, 0.8], [0.7, 0, 0.1], [0.2, 0.3, 0]])
    truth = np.zeros((3, 3), dtype=bool)
    truth[0, 1] = truth[1, 0] = True
    assert average_precision(scores, truth) == pytest.approx((1 + 2 / 3) / 2)


def test_ties_score_as_the_mean_over_their_orders():
    truth = np.zeros((3, 3), dtype=bool)
    truth[0, 1] = truth[0, 2] = True
    tied = np.array([[0, 1, 1], [1, 0, 0.5], [0.4, 0.3, 0]])
    found = []
    for order in permutations([1.3, 1.2, 1.1]):
        broken = tied.copy()
        broken[0, 1], broken[0, 2], broken[1, 0] = order
        found.append(average_precision(broken, truth))
    assert average_precision(tied, truth) == pytest.approx(np.mean(found))


def test_no_score_without_a_true_edge():
    with pytest.raises(ScreenError, match="at least one true edge"):
        average_precision(np.ones((3, 3)), np.eye(3, dtype=bool))


def test_realised_rate_ignores_the_diagonal():
    called = np.eye(3, dtype=bool)
    called[0, 1] = called[1, 2] = True
    truth = np.zeros((3, 3), dtype=bool)
    truth[0, 1] = True
    assert realised_fdr(called, truth) == (2, 0.5)
    assert realised_fdr(np.eye(3, dtype=bool), truth) == (0, 0.0)


def test_top_edges_refuse_ties_and_impossible_numbers():
    scores = np.arange(9.0).reshape(3, 3)
    assert top_edges(scores, 2).sum() == 2
    for n in (0, 7):
        with pytest.raises(ScreenError, match="cannot have"):
            top_edges(scores, n)
    with pytest.raises(ScreenError, match="tie"):
        top_edges(np.ones((3, 3)), 2)


def test_distances_agree_with_scipy():
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((7, 4)), rng.standard_normal((11, 4)) + 1
    expected = [wasserstein_distance(first[:, i], second[:, i]) for i in range(4)]
    assert wasserstein(first, second) == pytest.approx(expected)


@pytest.fixture(scope="module")
def cells():
    """Cells of a chain 0 -> 1 -> 2 beside 27 idle genes; every gene is knocked down."""
    rng = np.random.default_rng(4)
    g, each = 30, 30
    responses = rng.standard_normal((g * each, g))
    targeted = np.repeat(np.eye(g, dtype=bool), each, axis=0)
    responses[targeted] -= 5
    responses[:each, 1] -= 4
    responses[:each, 2] -= 3
    responses[each : 2 * each, 2] -= 4
    genes = tuple(f"G{i}" for i in range(g))
    controls = rng.standard_normal((200, g))
    return InterventionTable(genes, responses, targeted, controls, np.ones(g))


@pytest.fixture(scope="module")
def true_effects():
    called = np.zeros((30, 30), dtype=bool)
    called[0, 1] = called[0, 2] = called[1, 2] = True
    return called


def test_predicted_edges_are_no_non_edges(cells, true_effects):
    found = score_on_cells(true_effects, cells)
    assert (found.n_edges, found.n_omitted) == (3, 30 * 29 - 3)
    assert found.supported == 1.0
    fewer = true_effects.copy()
    fewer[0, 1] = False
    omitted = score_on_cells(fewer, cells)
    tests = found.n_omitted * found.false_omission
    assert omitted.false_omission == pytest.approx((tests + 1) / (found.n_omitted + 1))


def test_omissions_are_counted_among_pairs_that_were_not_predicted():
    """The published rate did not look at the network; this one must change with it."""
    significant = np.array([[True, False, True], [False, True, False]])
    tested = np.ones((2, 3), bool)
    tested[1, 2] = False
    none = edge_rates(np.zeros((2, 3), bool), significant, tested)
    assert (none.precision, none.false_omission, none.n_others) == (None, 3 / 5, 5)
    right = edge_rates(significant, significant, tested)
    assert (right.precision, right.false_omission, right.n_edges) == (1.0, 0.0, 3)
    assert edge_rates(~significant, significant, tested).false_omission == 1.0


def test_a_permuted_network_scores_otherwise(cells, true_effects):
    order = np.random.default_rng(5).permutation(30)
    found = score_on_cells(true_effects, cells)
    wrong = score_on_cells(true_effects[np.ix_(order, order)], cells)
    assert wrong.mean_distance < found.mean_distance - 2
    assert wrong.false_omission == pytest.approx(found.false_omission + 3 / found.n_omitted)


def test_false_omissions_of_a_full_network_are_chance(cells, true_effects):
    found = score_on_cells(true_effects, cells)
    assert found.false_omission == pytest.approx(0.05, abs=0.025)


def test_networks_are_compared_at_equal_numbers_of_edges(cells, true_effects):
    rng = np.random.default_rng(6)
    scores = {"truth": true_effects + 0.1 * rng.random((30, 30)), "chance": rng.random((30, 30))}
    found = compare_on_cells(scores, cells, 3)
    assert {score.n_edges for score in found.values()} == {3}
    assert found["truth"].mean_distance > found["chance"].mean_distance + 2
    with pytest.raises(ScreenError, match="can test"):
        compare_on_cells(scores, cells, 900)


def test_pairs_that_nothing_tests_do_not_count(cells, true_effects):
    part = cells.select_conditions(list(range(30)))
    assert score_on_cells(true_effects, part).n_edges == 2
    with pytest.raises(ScreenError, match="test no called edge"):
        score_on_cells(np.roll(true_effects, 5, axis=0), part)


@pytest.mark.parametrize(
    ("score", "least"),
    [
        (correlation, 0.05),
        (partial_correlation, 0.05),
        (knock_out_z, 0.3),
        (response_size, 0.2),
        (ridge_regression, 0.08),
        (lasso_regression, 0.08),
    ],
)
def test_baselines_find_edges_of_a_simulated_network(score, least):
    simulated = simulate_network(0, n_genes=40, noise=0.02)
    found = score(simulated.table)
    assert average_precision(found, simulated.signs != 0) > least
    order = [int(i) for i in np.random.default_rng(7).permutation(40)]
    moved = score(simulated.table.select_genes(order))
    assert moved == pytest.approx(found[np.ix_(order, order)], abs=1e-9)


def test_a_lasso_of_full_penalty_leaves_nothing():
    table = simulate_network(1, n_genes=10, noise=0.02).table
    assert not lasso_regression(table, part=1.001).any()
    assert 0 < (lasso_regression(table) > 0).mean() < 0.7
