"""The sampler of edges against numerical integration, and what must always hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import invgamma, norm

from models.perturbation.edge_design import Design, make_design, rises
from models.perturbation.edge_sampler import (
    LONE_SWEEPS,
    PI,
    PSI,
    SLAB,
    SLAB_SHAPE,
    SamplerSettings,
    sample_edges,
)
from models.perturbation.network_simulate import simulate_network
from models.screen import ScreenError, Stopped

BEFORE_SHARES = SamplerSettings(80, LONE_SWEEPS - 1, 8)


def switched_off(readings):
    """Gene A off in every row; gene B reads ``readings`` noise standard deviations."""
    y = np.column_stack([np.full(len(readings), -9.0), readings])
    x = np.column_stack([np.full(len(readings), -1.0), 0.1 * np.array(readings)])
    free = np.tile([False, True], (len(readings), 1))
    return Design(x, x.copy(), y, np.array([0.1, 0.1]), free)


def evidence_ratio(readings, up=-np.inf):
    """Marginal likelihood of an edge, b > ``up``, over that of none; the slab integrated out."""
    n, mean, noise = len(readings), -np.mean(readings), 1 + PSI
    prior = invgamma(SLAB_SHAPE, scale=2 * SLAB)

    def given(slab):
        precision = n / noise + 1 / slab
        centre = n * mean / noise / precision
        size = np.exp(0.5 * centre**2 * precision) / np.sqrt(slab * precision)
        return size * norm.sf(up, centre, 1 / np.sqrt(precision)) * prior.pdf(slab)

    return quad(given, 0, np.inf, limit=200)[0]


@pytest.mark.parametrize("readings", [[-2.0, -1.5, -1.8], [2.6, 1.4, 1.2], [0.3, -0.2, 0.1]])
def test_the_probability_of_an_edge_is_the_integral(readings):
    found = sample_edges(switched_off(readings), BEFORE_SHARES, seed=0)
    ratio = evidence_ratio(readings)
    exact = expit(logit(PI) + np.log(ratio))
    # Chains mix over the slab only: 80 of them leave an error of about 0.01 at a half.
    assert found.probability[0, 1] == pytest.approx(exact, abs=0.03, rel=0.1)
    positive = found.positive[0, 1] / found.probability[0, 1]
    assert positive == pytest.approx(evidence_ratio(readings, 0.0) / ratio, abs=0.03)


def rising(falls, lifts):
    """Gene A off in some rows and up by 3 pushes in others; gene B reads these."""
    # A itself reads nothing as a target, so that no edge into it shares in the slab.
    y = np.column_stack([np.zeros(len(falls) + len(lifts)), falls + lifts])
    x = np.column_stack([[-1.0] * len(falls) + [3.0] * len(lifts), 0.1 * y[:, 1]])
    free = np.column_stack([x[:, 0] > 0, np.ones(len(y), dtype=bool)])
    return Design(x, x.copy(), y, np.array([1e-3, 0.1]), free)


def test_an_edge_of_a_gene_that_rises_has_two_effects_of_one_sign():
    falls, lifts = [-1.6, -1.2], [2.9, 2.6]
    assert rises(rising(falls, lifts)).tolist() == [3.0, 0.0]
    prior = invgamma(SLAB_SHAPE, scale=2 * SLAB)

    def given(slab):
        size, sign = 1.0, []
        for readings, way in ((falls, -1), (lifts, 1)):
            precision = len(readings) / (1 + PSI) + 1 / slab
            centre = way * np.sum(readings) / (1 + PSI) / precision
            size *= np.exp(0.5 * centre**2 * precision) / np.sqrt(slab * precision)
            sign.append(norm.cdf(centre * np.sqrt(precision)))
        same = sign[0] * sign[1] + (1 - sign[0]) * (1 - sign[1])
        return 2 * same * size * prior.pdf(slab)

    exact = expit(logit(PI) + np.log(quad(given, 0, np.inf, limit=200)[0]))
    found = first_chains(rising(falls, lifts))
    assert found == pytest.approx(exact, abs=0.03)
    assert first_chains(rising(falls, [-2.9, -2.6])) < 0.2 * found


def first_chains(design):
    """Mean probability of A -> B over first chains of many seeds: those that know of rises."""
    one = SamplerSettings(1, LONE_SWEEPS - 1, 8)
    return np.mean([sample_edges(design, one, seed=seed).probability[0, 1] for seed in range(80)])


def test_every_second_chain_takes_the_line_through_rest():
    design = rising([-6.0, -5.6], [9.0, 9.5])
    found = sample_edges(design, SamplerSettings(2, 30, 10), seed=3)
    own, line = (draw[:, 0, 1] for draw in found.draws)
    assert line[1] == pytest.approx(3 * line[0])
    assert own[1] != pytest.approx(3 * own[0])


def test_rows_that_act_on_the_target_say_nothing_of_edges_into_it():
    found = sample_edges(switched_off([-9.0, -9.0, -8.0]), BEFORE_SHARES, seed=0)
    assert found.probability[1, 0] == pytest.approx(PI)
    assert found.probability[0, 1] > 0.99
    assert found.mean[0, 1] == pytest.approx(8.6, abs=0.5)


def test_probabilities_signs_and_draws_fit_together():
    table = simulate_network(2, n_genes=12).table
    found = sample_edges(make_design(table), SamplerSettings(3, 40, 20), seed=1)
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    assert ((found.positive >= 0) & (found.positive <= found.probability)).all()
    assert (np.diag(found.probability) == 0).all()
    assert len(found.draws) == 3
    assert all((draw[:, range(12), range(12)] == 0).all() for draw in found.draws)
    sure = found.probability > 0.95
    assert sure.any()
    for draw in found.draws:
        assert np.mean((draw != 0).any(axis=0)[sure]) > 0.7


def test_one_seed_gives_one_answer_and_work_stops_when_asked():
    design, short = make_design(simulate_network(2, n_genes=12).table), SamplerSettings(1, 10, 5)
    first, again, other = (sample_edges(design, short, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(first.probability, again.probability)
    assert not np.array_equal(first.probability, other.probability)
    with pytest.raises(Stopped):
        sample_edges(design, short, seed=4, should_stop=lambda: True)


@pytest.mark.parametrize("numbers", [(0, 10, 5), (1, 10, 10)])
def test_settings_refuse_the_impossible(numbers):
    with pytest.raises(ScreenError, match="needs a chain, and more sweeps"):
        SamplerSettings(*numbers)
