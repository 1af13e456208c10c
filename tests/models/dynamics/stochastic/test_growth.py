"""Rates from counts, end to end, with a network of seconds; and what follows exactly from rates."""

import numpy as np
import pytest
import torch

from models.dynamics.stochastic.cell_counts import Experiment, WellCounts
from models.dynamics.stochastic.closed_forms import extinction
from models.dynamics.stochastic.growth import (
    GrowthModel,
    GrowthOptions,
    extinction_draws,
    independent_pair,
    learn_growth,
    simulate,
    untrained,
)
from models.dynamics.stochastic.mixture import PosteriorMixture
from models.dynamics.stochastic.neural_posterior import Training
from models.screen import ScreenError, Stopped

TIMES = np.arange(0.0, 61.0, 10.0)
FRAME = Experiment(
    TIMES, np.array([8.0, 12.0]), np.array([2.0, 3.0]), np.array([[0.0, 0.0], [0.3, 0.0], [1, 1]])
)
QUICK = GrowthOptions(Training(steps=160, rows=96, rate=3e-3, every=80), held_out=300, cloud=800)


@pytest.fixture(scope="module")
def model():
    return GrowthModel(learn_growth(FRAME, seed=0, options=QUICK), FRAME, seed=0, options=QUICK)


def made(rates, levels, seed=0, first=10.0):
    theta = torch.tensor([[*rates, 0.03, 0.03]], dtype=torch.float64)
    start = torch.full((1, 3), first, dtype=torch.float64)
    counts = FRAME.simulate(theta, start, torch.Generator().manual_seed(seed))[0].numpy()
    return WellCounts(TIMES, counts, levels)


@pytest.mark.slow
class TestLearned:
    def test_net_growth_is_found(self, model):
        """b - d of three conditions, each within 0.015 an hour: three sds of 30 cells' worth."""
        asked = [((0.06, 0.005, 0, 0), (0, 0)), ((0.03, 0.03, 0, 0), (0.3, 0)),
                 ((0.01, 0.07, 0, 0), (1, 1))]  # fmt: skip
        conditions = [made(rates, levels, seed=k) for k, (rates, levels) in enumerate(asked)]
        drawn = model.draws(conditions, 500)
        assert drawn.shape == (500, 3, 6)
        net = (drawn[..., 0] - drawn[..., 1] - 0.5 * drawn[..., 2]).mean(axis=0)
        assert net == pytest.approx([0.055, 0.0, -0.06], abs=0.02)
        assert not any(verdict.refused for verdict in model.verdicts(conditions))

    def test_intervals_hold_nearly_what_they_say(self, model):
        found = model.calibration(40)
        assert found.coverage_90 == pytest.approx([0.9] * 6, abs=0.08)

    def test_nonsense_is_refused(self, model):
        odd = made((0.03, 0.03, 0, 0), (0.3, 0)).counts.copy()
        odd[:, 3] = 900
        (verdict,) = model.verdicts([WellCounts(TIMES, odd, (0.3, 0))])
        assert verdict.refused
        assert "no rates are given" in verdict.words

    def test_replicas(self, model):
        condition = made((0.05, 0.01, 0, 0), (0, 0))
        found = model.predictive(condition, model.draws([condition], 150)[:, 0])
        assert min(found.values()) > 0.01

    def test_later_readings_teach_more_than_the_second(self, model):
        value = model.times_value(choose=2, n=200)
        assert value.all.nats > 4 * value.all.se
        assert value.alone[-1].nats > value.alone[0].nats
        assert value.chosen[0][0] >= 3

    def test_the_order_of_wells_changes_nothing(self, model):
        one = made((0.05, 0.01, 0, 0), (0, 0))
        other = WellCounts(TIMES, one.counts[::-1].copy(), one.levels)
        assert np.allclose(model.draws([one], 20), model.draws([other], 20), rtol=1e-5)

    def test_weights_come_back(self, model):
        again = untrained(FRAME, 0)
        again.load_state_dict(model.posterior.state_dict())
        other = GrowthModel(again, FRAME, seed=0, options=QUICK)
        condition = made((0.05, 0.01, 0, 0), (0, 0))
        assert np.array_equal(other.draws([condition], 20), model.draws([condition], 20))

    def test_other_times_are_refused(self, model):
        with pytest.raises(ScreenError, match="other times"):
            model.draws([WellCounts(TIMES * 2, np.full((1, 7), 5.0), (0, 0))], 5)


def test_a_mixture_answers_as_a_network_does():
    """Draws of each member, in shares; the guard sees what both have learned."""
    members = [untrained(FRAME, seed) for seed in (0, 1)]
    small = GrowthOptions(held_out=100, cloud=800)
    found = GrowthModel(PosteriorMixture(members), FRAME, seed=0, options=small)
    condition = made((0.05, 0.01, 0, 0), (0, 0))
    drawn = found.draws([condition], 400)
    assert drawn.shape == (400, 1, 6)
    assert bool(FRAME.prior().contains(torch.as_tensor(drawn)).all())
    alone = [GrowthModel(one, FRAME, seed=0, options=small) for one in members]
    each = np.stack([one.draws([condition], 400)[:, 0].mean(axis=0) for one in alone])
    error = 5 * drawn[:, 0].std(axis=0) * np.sqrt(2 / 400)
    assert np.all(np.abs(drawn[:, 0].mean(axis=0) - each.mean(axis=0)) <= error)
    assert 0 < found.verdicts([condition])[0].p <= 1


def test_stopping():
    with pytest.raises(Stopped):
        learn_growth(FRAME, seed=0, options=QUICK, should_stop=lambda: True)


def test_the_same_seed_simulates_the_same():
    one, other = (simulate(FRAME, 5, torch.Generator().manual_seed(2)) for _ in range(2))
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(one, other, strict=True))


def test_extinction_of_draws_is_the_closed_form():
    draws = np.array([[0.03, 0.06, 0.0, 0.0], [0.06, 0.03, 0.0, 0.0]])
    times = np.array([24.0, 240.0])
    expected = extinction(5, draws[:, :1], draws[:, 1:2], times)
    assert extinction_draws(draws, 5, times) == pytest.approx(expected, rel=1e-6)


def test_extinction_of_draws_is_that_of_the_simulator():
    """With sleep, from the leaps: within 2 % and three standard errors."""
    from models.dynamics.stochastic.known_networks import GROWTH
    from models.dynamics.stochastic.leaping import Leaping

    rates = np.array([[0.03, 0.06, 0.02, 0.02]])
    n, times = 20_000, np.array([60.0, 150.0])
    start = torch.tensor([[4.0, 0.0]], dtype=torch.float64).expand(n, -1)
    found = Leaping(GROWTH, 2.0).simulate(
        torch.tensor(rates).expand(n, -1), start, times, torch.Generator().manual_seed(0)
    )
    gone = (found.sum(dim=2) == 0).double().mean(dim=0).numpy()
    expected = extinction_draws(rates, 4, times)[0]
    error = 3 * np.sqrt(expected * (1 - expected) / n)
    assert np.all(np.abs(gone - expected) <= 0.02 * expected + error)


def test_drugs_that_do_not_interact():
    control = np.array([[0.05, 0.01, 0.002, 0.0]])
    slow = np.array([[0.025, 0.01, 0.002, 0.0]])
    toxic = np.array([[0.05, 0.03, 0.002, 0.01]])
    assert independent_pair(control, slow, toxic) == pytest.approx(
        np.array([[0.025, 0.03, 0.002, 0.01]])
    )
    assert np.array_equal(
        independent_pair(control, slow, toxic), independent_pair(control, toxic, slow)
    )
    assert independent_pair(control, control, control) == pytest.approx(control)
