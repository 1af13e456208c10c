"""Information of readings where it has a closed form."""

import numpy as np
import pytest

from models.dynamics.stochastic.sampling_times import gain, value_of_times
from models.screen import ScreenError

NOISE = np.array([4.0, 1.0, 0.5, 3.0])


def normal_score(n=4000, seed=0):
    """A standard normal theta, read with known noise at four times; the exact posterior."""
    generator = np.random.default_rng(seed)
    theta = generator.normal(size=n)
    seen = theta[:, None] + NOISE * generator.normal(size=(n, 4))

    def score(mask):
        precision = 1 + (mask / NOISE**2).sum()
        mean = (seen * mask / NOISE**2).sum(axis=1) / precision
        return 0.5 * np.log(precision / (2 * np.pi)) - 0.5 * precision * (theta - mean) ** 2

    return score


def exact(places, beyond=(0,)):
    total = [1 + (1 / NOISE[list(p)] ** 2).sum() for p in (places, beyond)]
    return 0.5 * np.log(total[0] / total[1])


def test_the_gain_of_normal_readings():
    value = value_of_times(normal_score(), 4, 2)
    for found, expected in (
        (value.all, exact([0, 1, 2, 3])),
        (value.alone[0], exact([0, 1])),
        (value.left_out[1], exact([0, 1, 2, 3], [0, 1, 3])),
        (value.chosen[1][1], exact([0, 1, 2], [0, 2])),
    ):
        assert found.nats == pytest.approx(expected, abs=4 * found.se)
        assert 0 < found.se < 0.05
    assert [place for place, _ in value.chosen] == [2, 1]


def test_what_is_refused():
    with pytest.raises(ScreenError, match="at least 30"):
        gain(np.zeros(5), np.zeros(5))
    with pytest.raises(ScreenError, match="choose 1 to 3"):
        value_of_times(normal_score(), 4, 4)
