"""A bank of recursive filters, against the recursion and where it must be least."""

import pytest
import torch

from models.dynamics.stochastic.moving_average import simulate_moving_average
from models.dynamics.stochastic.resonators import EnergyEmbedding, ResonatorBank, triangle_nodes
from models.screen import ScreenError


def test_energies_are_those_of_the_recursion():
    nodes = triangle_nodes(5, seed=0)
    series = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    found = ResonatorBank(nodes, 12).energies(series)
    for k, (a, b) in enumerate(nodes.tolist()):
        for row, one in enumerate(series.tolist()):
            total = 0.0
            for way in (one, one[::-1]):
                left = [0.0, 0.0]
                for value in way:
                    left.append(value - a * left[-1] - b * left[-2])
                total += sum(x * x for x in left) / 24
            assert float(found[row, k]) == pytest.approx(total, rel=1e-4)


def test_backcast_energies_are_those_of_the_whole_covariance():
    """y' S^-1 y / n with the banded covariance of a moving average: dense algebra, both ways."""
    nodes, n = triangle_nodes(6, seed=0), 30
    series = torch.randn(4, n, generator=torch.Generator().manual_seed(0))
    bank = ResonatorBank(nodes, n, backcast=True)
    found = bank.energies(series)
    for k, (a, b) in enumerate(nodes.tolist()):
        shocks = torch.zeros(n, n + 2, dtype=torch.float64)
        for t in range(n):
            shocks[t, t : t + 3] = torch.tensor([b, a, 1.0])
        whitened = torch.linalg.solve(shocks @ shocks.T, series.double().T)
        exact = (series.double().T * whitened).sum(dim=0) / n
        assert found[:, k].tolist() == pytest.approx(exact.tolist(), rel=1e-4)
    assert torch.allclose(found, bank.energies(series.flip(1)), rtol=1e-4)


def test_the_energy_is_least_near_the_truth():
    theta = torch.tensor([[0.6, 0.2]], dtype=torch.float64).expand(20, -1)
    series = simulate_moving_average(theta, 400, torch.Generator().manual_seed(0)).float()
    nodes = triangle_nodes(300, seed=1)
    least = nodes[ResonatorBank(nodes, 400).energies(series).argmin(dim=1)]
    assert least.mean(dim=0).tolist() == pytest.approx([0.6, 0.2], abs=0.07)


def test_an_embedding():
    bank = ResonatorBank(triangle_nodes(16, seed=0), 30)
    energies = bank.energies(torch.randn(50, 30, generator=torch.Generator().manual_seed(0)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = EnergyEmbedding(bank, energies, 6)
    found = network(energies)
    assert found.shape == (50, 6)
    found.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters())


def test_what_is_read_has_unit_variance_and_is_not_correlated():
    bank = ResonatorBank(triangle_nodes(12, seed=0), 30)
    energies = bank.energies(torch.randn(400, 30, generator=torch.Generator().manual_seed(0)))
    network = EnergyEmbedding(bank, energies, 6)
    read = (energies.log() - network.centre) @ network.components
    size = read.shape[1]
    assert 3 <= size <= 12
    assert torch.allclose(torch.cov(read.T), torch.eye(size), atol=2e-2)


def test_what_is_refused():
    with pytest.raises(ScreenError, match="not stable"):
        ResonatorBank(torch.tensor([[1.9, 0.2]], dtype=torch.float64), 10)
    with pytest.raises(ScreenError, match="10 readings"):
        ResonatorBank(triangle_nodes(2, seed=0), 10).energies(torch.zeros(1, 9))
