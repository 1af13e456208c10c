"""Summary networks: shapes, what they must not see, what is refused."""

import pytest
import torch

from models.dynamics.stochastic.summaries import (
    FilterBank,
    PartiallyExchangeable,
    SeriesCNN,
    SetPooled,
)
from models.screen import ScreenError


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(
    "network",
    [
        lambda: SeriesCNN(3, 30, 7),
        lambda: SeriesCNN(3, 30, 7, blocks=(25, 50, 100), norm=torch.nn.BatchNorm1d),
        lambda: PartiallyExchangeable(3, 2, 7),
        lambda: FilterBank(3, 8, 7),
    ],
)
def test_a_summary_a_series(network):
    summary = network()
    found = summary(torch.randn(5, 3, 30))
    assert found.shape == (5, 7)
    found.sum().backward()
    assert all(p.grad is not None for p in summary.parameters())
    summary.eval()
    series = torch.randn(2, 3, 30)
    assert torch.allclose(summary(series)[:1], summary(series[:1]), atol=1e-6)


def test_markov_data_may_be_cut_and_joined():
    """PEN-1: a series whose pairs of neighbours are the same, in another order, has the same
    summary (Wiqvist et al. 2019, theorem 1): a b c b, with b c b in front, is a b c b c b."""
    network = PartiallyExchangeable(1, 1, 4).eval()
    a, b, c, d = 0.3, -1.0, 2.0, 0.7
    one = torch.tensor([[[a, b, c, b, d, b]]])
    other = torch.tensor([[[a, b, d, b, c, b]]])
    assert torch.allclose(network(one), network(other), atol=1e-6)
    assert not torch.allclose(network(one), network(torch.tensor([[[a, b, c, d, b, b]]])))


def test_replicates_may_come_in_any_order_to_the_last_bit():
    pooled = SetPooled(SeriesCNN(2, 20, 8), 8, 5).eval()
    series = torch.randn(6, 7, 2, 20)
    present = torch.arange(7) < torch.tensor([7, 3, 1, 5, 6, 2])[:, None]
    expected = pooled(series, present)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        order = torch.randperm(7, generator=generator)
        assert torch.equal(pooled(series[:, order], present[:, order]), expected)


def test_absent_wells_do_not_count():
    pooled = SetPooled(SeriesCNN(2, 20, 8), 8, 5).eval()
    series = torch.randn(3, 4, 2, 20)
    present = torch.tensor([[True, True, False, False]]).expand(3, -1)
    changed = series.clone()
    changed[:, 2:] = 1e3
    assert torch.equal(pooled(series, present), pooled(changed, present))
    fewer = pooled(series[:, :2], present[:, :2])
    assert torch.allclose(pooled(series, present), fewer, atol=1e-6)
    assert not torch.allclose(pooled(series[:, :1], present[:, :1]), fewer, atol=1e-3)


def test_what_is_refused():
    with pytest.raises(ScreenError, match="too few"):
        SeriesCNN(1, 5, 3)
    pooled = SetPooled(SeriesCNN(2, 20, 8), 8, 5)
    with pytest.raises(ScreenError, match="empty"):
        pooled(torch.randn(1, 2, 2, 20), torch.zeros(1, 2, dtype=torch.bool))
