"""Both simulators against closed forms and against each other."""

import numpy as np
import pytest
import torch

from models.dynamics.stochastic.closed_forms import birth_death_moments, extinction, telegraph_fano
from models.dynamics.stochastic.direct import simulate_direct
from models.dynamics.stochastic.known_networks import (
    BIRTH_DEATH,
    GROWTH,
    IMMIGRATION_DEATH,
    TELEGRAPH,
    VILAR,
    VILAR_START,
    VILAR_TRUTH,
)
from models.dynamics.stochastic.leaping import Leaping
from models.dynamics.stochastic.reactions import Reaction, ReactionNetwork
from models.screen import ScreenError, Stopped

N = 20_000


def leap(network, values, start, times, tau, n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.tensor(values, dtype=torch.float64).expand(n, -1)
    begin = torch.tensor(start, dtype=torch.float64).expand(n, -1)
    return Leaping(network, tau).simulate(rows, begin, np.asarray(times), generator).numpy()


def direct(network, values, start, times, n=4000, seed=0):
    begin = np.broadcast_to(np.array(start, np.float64), (n, len(start)))
    return simulate_direct(network, np.array(values, np.float64), begin, np.asarray(times), seed)


@pytest.mark.parametrize("simulate", [direct, lambda *a: leap(*a, tau=0.5)])
@pytest.mark.parametrize(("b", "d"), [(0.06, 0.02), (0.03, 0.08), (0.05, 0.05)])
def test_moments_of_birth_and_death(simulate, b, d):
    """Five standard errors of the mean; the variance to its own, for a kurtosis of at most 10."""
    times = [0.0, 10.0, 30.0]
    found = simulate(BIRTH_DEATH, [b, d], [10], times)[:, :, 0]
    mean, variance = birth_death_moments(10, b, d, np.array(times))
    n = len(found)
    assert np.all(np.abs(found.mean(0) - mean) <= 5 * np.sqrt(variance / n) + 1e-3 * mean)
    assert np.all(np.abs(found.var(0) - variance) <= 5 * variance * np.sqrt(10 / n))


@pytest.mark.slow
@pytest.mark.parametrize(("b", "d"), [(0.05, 0.04), (0.03, 0.05)])
def test_extinction_within_two_percent_of_the_closed_form(b, d):
    times = np.array([24.0, 72.0])
    found = leap(BIRTH_DEATH, [b, d], [2], times, tau=2.0, n=100_000)[:, :, 0]
    exact = extinction(2, b, d, times)
    noise = 3 * np.sqrt(exact * (1 - exact) / len(found)) / exact
    assert np.all(noise < 0.05)
    assert np.all(np.abs((found == 0).mean(0) / exact - 1) < np.maximum(0.02, noise))


@pytest.mark.parametrize("simulate", [direct, lambda *a: leap(*a, tau=0.25)])
def test_immigration_and_death_become_poisson(simulate):
    found = simulate(IMMIGRATION_DEATH, [5.0, 1.0], [0], [12.0])[:, 0, 0]
    n = len(found)
    assert found.mean() == pytest.approx(5.0, abs=5 * np.sqrt(5 / n))
    assert found.var() == pytest.approx(5.0, abs=5 * np.sqrt((5 + 2 * 25) / n))


@pytest.mark.parametrize("simulate", [direct, lambda *a: leap(*a, tau=0.1)])
def test_the_telegraph_is_as_noisy_as_it_should_be(simulate):
    on, off, made, decay = 0.5, 0.7, 20.0, 1.0
    found = simulate(TELEGRAPH, [on, off, made, decay], [1, 0, 0], [15.0])[:, 0]
    mean = made * on / (on + off) / decay
    fano = telegraph_fano(on, off, made, decay)
    assert found[:, 2].mean() == pytest.approx(mean, abs=5 * np.sqrt(fano * mean / len(found)))
    assert found[:, 2].var() / found[:, 2].mean() == pytest.approx(fano, rel=0.08)
    assert set(np.unique(found[:, 0] + found[:, 1])) == {1.0}


def test_leaps_come_to_the_direct_method():
    """A network that is not linear, with four kinds of laws: the distance between the two halves
    at least threefold from one leap a unit to eight (second order would be 64), and ends within
    the noise."""
    network = ReactionNetwork(
        ("A", "B", "C"),
        (
            Reaction(("A", "B"), ("C",), "meet"), Reaction(("C",), ("A",), "part"),
            Reaction((), ("B",), "come"), Reaction(("A", "A"), ("A",), "crowd"),
            Reaction(("A",), ("A", "A"), "divide"),
        ),
    )  # fmt: skip
    values, start, times = [0.05, 0.5, 6.0, 0.02, 0.4], [20, 10, 0], [2.0, 6.0]
    exact = direct(network, values, start, times, n=6000)
    errors = []
    for tau in (1.0, 0.5, 0.125):
        found = leap(network, values, start, times, tau)
        spread = exact.std(0) * np.sqrt(1 / len(exact) + 1 / len(found))
        errors.append(np.abs(found.mean(0) - exact.mean(0)) / spread)
    assert errors[0].max() > 3 * errors[-1].max()
    assert errors[-1].max() < 4.5


def test_no_count_is_ever_below_zero():
    """Huge leaps: wrong numbers, perhaps, but whole ones and none below zero."""
    values = [VILAR_TRUTH[name] for name in VILAR.parameters]
    found = leap(VILAR, values, VILAR_START, np.linspace(0, 20, 11), tau=1.0, n=200)
    assert found.min() == 0
    assert np.array_equal(found, np.round(found))
    assert np.all(found[:, :, :2].sum(2) == 1)
    found = leap(GROWTH, [0.1, 5.0, 3.0, 1.0], [50, 20], [10.0, 20.0], tau=10.0, n=500)
    assert found.min() == 0


@pytest.mark.slow
def test_the_oscillator_leaps_as_it_should():
    """Binding, unbinding and meeting are up to a hundred times faster than the leaps. Means of the
    three that are seen, over the first rise; 4 standard errors, and 3 % for the leaps."""
    values = [VILAR_TRUTH[name] for name in VILAR.parameters]
    times = np.array([1.5, 3.0])
    exact = direct(VILAR, values, VILAR_START, times, n=24)[:, :, 6:]
    found = leap(VILAR, values, VILAR_START, times, tau=0.02, n=200)[:, :, 6:]
    spread = exact.std(0) * np.sqrt(1 / len(exact) + 1 / len(found))
    off = np.abs(found.mean(0) - exact.mean(0))
    assert np.all(off <= 4 * spread + 0.03 * exact.mean(0) + 0.5)


def test_binding_is_exact_while_the_partner_stands_still():
    """Any leap: the chain of two states of one promoter among many activators."""
    network = ReactionNetwork(
        ("free", "A", "bound"),
        (Reaction(("free", "A"), ("bound",), "on"), Reaction(("bound",), ("free", "A"), "off")),
    )
    on, off, activators = 0.001, 0.7, 1000
    times = [0.5, 2.0]
    found = leap(network, [on, off], [1, activators, 0], times, tau=2.0)[:, :, 2].mean(0)
    total = on * activators + off
    expected = on * activators / total * -np.expm1(-total * np.array(times))
    assert found == pytest.approx(expected, abs=5 * np.sqrt(0.25 / N) + 1e-3)


def test_the_same_seed_gives_the_same_run():
    for simulate in (direct, lambda *a, **k: leap(*a, tau=0.5, **k)):
        runs = [simulate(GROWTH, [0.05, 0.02, 0.01, 0.01], [5, 1], [10.0, 20.0], n=50, seed=s)
                for s in (3, 3, 4)]  # fmt: skip
        assert np.array_equal(runs[0], runs[1])
        assert not np.array_equal(runs[0], runs[2])


def test_what_is_refused():
    with pytest.raises(ScreenError, match="above 0"):
        Leaping(BIRTH_DEATH, 0.0)
    for simulate in (direct, lambda *a: leap(*a, tau=0.5, n=2)):
        with pytest.raises(ScreenError, match="ascend"):
            simulate(BIRTH_DEATH, [0.1, 0.1], [1], [2.0, 1.0])
        with pytest.raises(ScreenError, match="whole numbers"):
            simulate(BIRTH_DEATH, [0.1, 0.1], [1.5], [1.0])
        with pytest.raises(ScreenError, match="finite"):
            simulate(BIRTH_DEATH, [np.nan, 0.1], [1], [1.0])
    with pytest.raises(ScreenError, match="passes"):
        leap(BIRTH_DEATH, [1.0, 0.0], [1], [60.0], tau=1.0, n=3)


def test_stopping():
    start = torch.ones(2, 1)
    with pytest.raises(Stopped):
        Leaping(BIRTH_DEATH, 1.0).simulate(
            start.expand(2, 2) * 0.1, start, np.array([5.0]), torch.Generator(),
            should_stop=lambda: True,
        )  # fmt: skip
    with pytest.raises(Stopped):
        simulate_direct(
            BIRTH_DEATH, np.array([0.1, 0.1]), np.array([1.0]), np.array([1.0]), 0,
            should_stop=lambda: True,
        )  # fmt: skip
