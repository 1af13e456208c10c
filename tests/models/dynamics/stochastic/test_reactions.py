"""Networks as data: propensities, means, and what is refused."""

import numpy as np
import pytest

from models.dynamics.stochastic.known_networks import (
    BIRTH_DEATH,
    VILAR,
    VILAR_LOWER,
    VILAR_START,
    VILAR_TRUTH,
    VILAR_UPPER,
)
from models.dynamics.stochastic.reactions import Reaction, ReactionNetwork
from models.screen import ScreenError


def test_propensities_count_combinations():
    network = ReactionNetwork(
        ("A", "B"),
        (
            Reaction(("A", "A"), ("B",), "k"),
            Reaction(("A", "B"), (), "m"),
            Reaction((), ("A",), "k"),
        ),
    )
    assert network.parameters == ("k", "m")
    found = network.propensities(np.array([4.0, 3.0]), np.array([2.0, 10.0]))
    assert found.tolist() == [2 * 6, 10 * 12, 2]
    assert network.change().tolist() == [[-2, 1], [-1, -1], [1, 0]]


def test_the_mean_of_linear_growth():
    times = np.array([0.0, 5.0, 20.0])
    found = BIRTH_DEATH.mean_field([0.1, 0.04], [7], times)[:, 0]
    assert found == pytest.approx(7 * np.exp(0.06 * times), rel=1e-6)


def test_the_oscillator_is_the_published_one():
    """Nine species, fifteen parameters; promoters are conserved and A is taken and given back."""
    assert len(VILAR.species) == 9
    assert set(VILAR.parameters) == set(VILAR_TRUTH)
    conserved = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0])
    assert not (VILAR.change() @ conserved).any()
    activator = np.array([0, 1, 0, 1, 0, 0, 1, 0, 1])
    gain = dict(zip([r.rate for r in VILAR.reactions], VILAR.change() @ activator, strict=True))
    assert [gain[name] for name in ("gamma_A", "theta_A", "gamma_R", "theta_R", "gamma_C")] == [
        0
    ] * 5
    assert all(VILAR_LOWER[n] <= v <= VILAR_UPPER[n] for n, v in VILAR_TRUTH.items())


def test_the_oscillator_oscillates_about_once_a_day():
    """Vilar et al. 2002, fig. 2: activator peaks some 25 hours apart."""
    values = [VILAR_TRUTH[name] for name in VILAR.parameters]
    times = np.linspace(0, 150, 1501)
    activator = VILAR.mean_field(values, VILAR_START, times)[:, 6]
    peaks = 1 + np.flatnonzero(
        (activator[1:-1] > activator[:-2]) & (activator[1:-1] > activator[2:])
        & (activator[1:-1] > 500)
    )  # fmt: skip
    assert np.diff(times[peaks])[1:] == pytest.approx(25, abs=2)


@pytest.mark.parametrize(
    ("species", "reactions", "says"),
    [
        (("A",), (Reaction(("B",), (), "k"),), "'B' is not among"),
        (("A", "A"), (Reaction(("A",), (), "k"),), "listed twice"),
        (("A",), (Reaction(("A",), ("A",), "k"),), "changes nothing"),
        (("A",), (Reaction(("A", "A", "A"), (), "k"),), "more than 2"),
        (("A",), (), "at least one"),
    ],
)
def test_what_is_no_network(species, reactions, says):
    with pytest.raises(ScreenError, match=says):
        ReactionNetwork(species, reactions)
