"""A mixture of posteriors: a density, its draws, and what becomes of one member."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from models.dynamics.stochastic.mixture import PosteriorMixture, train_members
from models.dynamics.stochastic.neural_posterior import (
    NeuralPosterior,
    Simulated,
    Stored,
    Training,
    held_out_score,
)
from models.dynamics.stochastic.priors import BoxPrior, TrianglePrior
from models.screen import ScreenError, Stopped

BOX = BoxPrior(("x",), (-4.0,), (4.0,))
SEEN = torch.tensor([[0.7], [-2.0]])


def network(seed=0, prior=BOX):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embedding = nn.Sequential(nn.Linear(1, 12), nn.SiLU(), nn.Linear(12, 8))
    return NeuralPosterior(prior, embedding, 8, seed=seed, transforms=2, hidden=(16,))


def apart(prior=BOX):
    """Three posteriors, moved away from each other."""
    members = [network(seed, prior) for seed in range(3)]
    with torch.no_grad():
        for at, one in enumerate(members):
            one.embedding[-1].bias += 1.0 * (at - 1)
    return PosteriorMixture(members)


def pairs(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    theta = BOX.sample(n, generator)
    seen = theta + 0.5 * torch.randn(theta.shape, generator=generator, dtype=torch.float64)
    return Simulated(theta, (seen.float(),))


def grid(side=120):
    unit = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return TrianglePrior().from_unit(torch.cartesian_prod(unit, unit))


def test_its_density_is_the_mean_of_densities_and_integrates_to_one():
    mixture, points = apart(TrianglePrior()), grid()
    seen = SEEN[:1].expand(len(points), -1)
    with torch.no_grad():
        found = mixture.log_prob(points, seen).double().exp()
        each = torch.stack([one.log_prob(points, seen).double().exp() for one in mixture.members])
    assert torch.allclose(found, each.mean(dim=0), rtol=1e-4)
    assert float((each[0] - each[1]).abs().max()) > 0.05
    assert float(found.mean()) * 4 == pytest.approx(1, abs=0.01)


def test_its_draws_are_of_its_density():
    """Mean of 30,000 draws and share of them in each tenth, against the density on a grid: within
    five standard errors."""
    mixture, n = apart(), 30_000
    points = torch.linspace(-4, 4, 8002, dtype=torch.float64)[1:-1, None]
    drawn = mixture.sample(n, SEEN, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (n, 2, 1)
    assert drawn.dtype == torch.float64
    for row in (0, 1):
        with torch.no_grad():
            logs = mixture.log_prob(points, SEEN[row : row + 1].expand(len(points), -1))
        weights = logs.double().exp().numpy()
        weights /= weights.sum()
        x = points[:, 0].numpy()
        bins = np.linspace(-4, 4, 11)
        share = np.histogram(x, bins, weights=weights)[0]
        seen = np.histogram(drawn[:, row, 0].numpy(), bins)[0] / n
        assert np.all(np.abs(seen - share) <= 5 * np.sqrt(share * (1 - share) / n) + 1e-3)


def test_draws_come_from_all_members_in_no_order():
    """Members that have shrunk to different points: as many draws of each, and no runs of them."""
    mixture, n = apart(), 3000
    for at, one in enumerate(mixture.members):
        one.sample = lambda k, *inputs, generator, at=at: torch.full((k, 2, 1), float(at))
    drawn = mixture.sample(n, SEEN, generator=torch.Generator().manual_seed(0))[:, 0, 0]
    shares = torch.bincount(drawn.long(), minlength=3) / n
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=5 * math.sqrt(2 / 9 / n))
    same = float((drawn[1:] == drawn[:-1]).double().mean())
    assert same == pytest.approx(1 / 3, abs=5 * math.sqrt(2 / 9 / n))


def test_a_mixture_of_one_is_its_member():
    member = network(1)
    mixture = PosteriorMixture([member])
    theta = torch.tensor([[0.3], [-1.0]])
    assert torch.equal(mixture.log_prob(theta, SEEN), member.log_prob(theta, SEEN))
    assert torch.equal(mixture.embed(SEEN), member.embed(SEEN))
    one, other = (
        each.sample(50, SEEN, generator=torch.Generator().manual_seed(3))
        for each in (mixture, member)
    )
    assert torch.equal(one, other)


def test_weights_come_back():
    mixture = apart()
    again = PosteriorMixture([network(9), network(8), network(7)])
    again.load_state_dict(mixture.state_dict())
    one, other = (
        each.sample(50, SEEN, generator=torch.Generator().manual_seed(3))
        for each in (mixture, again)
    )
    assert torch.equal(one, other)
    assert mixture.embed(SEEN).shape == (2, 24)
    assert mixture.prior == BOX


def test_trained_it_scores_at_least_the_mean_of_its_members():
    """Jensen's inequality, and it is the same for the same seed."""
    scores, told = [], []
    for _ in range(2):
        mixture = PosteriorMixture([network(0), network(1)])
        looks = train_members(
            mixture, Stored(pairs(2000)), pairs(300, 1), seed=4,
            training=Training(steps=40, rows=128, rate=5e-3, every=20),
            on_progress=lambda stage, done, total: told.append((done, total)),
        )  # fmt: skip
        assert [len(row) for row in looks] == [2, 2]
        assert looks[0] != looks[1]
        scores.append(held_out_score(mixture, pairs(300, 1)))
        assert not mixture.training
        each = [held_out_score(one, pairs(300, 1)) for one in mixture.members]
        assert scores[-1] >= np.mean(each)
    assert scores[0] == scores[1]
    assert told[:80] == [(done, 80) for done in range(1, 81)]


def test_refusals():
    with pytest.raises(ScreenError, match="at least one"):
        PosteriorMixture([])
    with pytest.raises(ScreenError, match="one prior"):
        PosteriorMixture([network(), network(prior=BoxPrior(("x",), (0.0,), (1.0,)))])
    with pytest.raises(Stopped):
        train_members(
            apart(), Stored(pairs(100)), pairs(100), seed=0, should_stop=lambda: True
        )  # fmt: skip
