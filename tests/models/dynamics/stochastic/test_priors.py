"""Priors: there and back, densities, and nothing outside."""

import math

import numpy as np
import pytest
import torch

from models.dynamics.stochastic.priors import BoxPrior, TrianglePrior
from models.screen import ScreenError

PRIORS = [BoxPrior(("a", "b"), (-1.0, 0.0), (3.0, 0.1)), TrianglePrior()]


@pytest.mark.parametrize("prior", PRIORS)
class TestPriors:
    def test_there_and_back(self, prior):
        values = prior.sample(500, torch.Generator().manual_seed(0))
        assert bool(prior.contains(values).all())
        assert torch.allclose(prior.from_normal(prior.to_normal(values)), values, atol=1e-9)

    def test_the_prior_becomes_standard_normal(self, prior):
        normal = prior.to_normal(prior.sample(20_000, torch.Generator().manual_seed(0)))
        assert normal.mean(0).tolist() == pytest.approx([0, 0], abs=0.04)
        assert torch.cov(normal.T).flatten().tolist() == pytest.approx([1, 0, 0, 1], abs=0.05)

    def test_the_slope_is_that_of_the_map(self, prior):
        """log |d normal / d values| against automatic differentiation."""
        values = prior.sample(5, torch.Generator().manual_seed(3))
        slope = prior.log_slope(prior.to_normal(values))
        for row, expected in zip(values, slope, strict=True):
            jacobian = torch.autograd.functional.jacobian(prior.to_normal, row)
            assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(expected))

    def test_nothing_outside(self, prior):
        beyond = torch.tensor([[5.0, 0.05], [0.0, -4.0]], dtype=torch.float64)
        assert prior.log_prob(beyond).tolist() == [-math.inf] * 2
        with pytest.raises(ScreenError, match="outside"):
            prior.to_normal(beyond)

    def test_the_density_is_one_over_the_volume(self, prior):
        values = prior.sample(3, torch.Generator().manual_seed(0))
        assert prior.log_prob(values).exp().tolist() == pytest.approx(
            [1 / (0.4 if isinstance(prior, BoxPrior) else 4)] * 3
        )


def test_the_triangle_is_filled_evenly():
    drawn = TrianglePrior().sample(50_000, torch.Generator().manual_seed(0)).numpy()
    grid = np.histogram2d(*drawn.T, bins=[np.linspace(-1, 1, 5), np.linspace(0, 1, 3)])[0]
    expected = 50_000 / 4 * 0.25
    assert np.all(np.abs(grid - expected) < 5 * np.sqrt(expected))


def test_a_box_without_width():
    with pytest.raises(ScreenError, match="'a' needs"):
        BoxPrior(("a",), (1.0,), (1.0,))
